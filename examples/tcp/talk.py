import sys

from tcp_backend import backend

import enchannel as ec

with ec.connect(sys.argv[1], backend=backend) as kernel:
    print(kernel.run("6 * 7").text)
