"""Shared tools of the tests: fake kernels, real servers, threads, and waiting.

Which fake kernel to use
    ======================================= ========================================================
    In a test of …                          use
    ======================================= ========================================================
    the core: how a ``Kernel`` reacts to    ``tests.rigs.scripted.ScriptedLink``. It is not a kernel but
    messages and events, in any order       a link that the test drives by hand, in virtual time.
    behaviour that needs answers, routing   ``enchannel.memory.InMemoryKernel`` (the end of the wire),
    to several clients, or a loss           with ``enchannel.testing.FakeKernel`` (its answers);
                                            ``faults`` and ``QUIRKS`` change them.
    a transport or server with a kernel     ``enchannel_zmq.testing.ZmqRig``, with ``FakeKernel``. A
    behind it                               server or a relay can connect to it, as to a real kernel.
    ZeroMQ itself: bad frames, wrong keys,  ``tests.rigs.wire_kernel.WireKernel``. Its frames are made
    closed sockets                          by hand, and do not pass through enchannel's codec.
    speed                                   ``benchmarks.fake_kernel``. It sends as fast as libzmq can,
                                            and runs in a process of its own.
    a real kernel's behaviour               ``ec.launch()``, in a test marked ``kernel``.
    ======================================= ========================================================

``ZmqRig`` and ``WireKernel`` share their sockets (``enchannel_zmq._testing_sockets``).
``tests.rigs.websocket`` and ``tests.rigs.relay`` put a ``ZmqRig`` behind a real server, with a proxy that
breaks the connection.
``enchannel.testing.Collector`` is the one subscriber that records.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

# Generous: only a failure waits as long as this.
DEADLINE: Final = 30.0
"""Seconds without progress after which a test gives up waiting."""

LONG_STREAM_TIMEOUT: Final = 600.0
"""The pytest timeout, in seconds, of tests that take minutes on a busy machine."""

# Not in one sleep: CPython has a moment, just before it blocks, in which a signal does not wake it up.
ASLEEP: Final = "import time\nprint('asleep', flush=True)\nwhile True: time.sleep(0.05)"
"""Code for a kernel that prints "asleep" and then runs until it is interrupted."""


def eventually(
    condition: Callable[[], bool], progress: Callable[[], object] = lambda: None
) -> bool:
    """Poll a condition that no event reports; return True once it is met, False at the deadline.

    Args:
        condition: The condition.
        progress: A value that changes while there is progress, such as the number of received items.
            Each change renews the deadline.
    """
    deadline, before = time.monotonic() + DEADLINE, progress()
    while not (is_met := condition()) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
        if (now := progress()) != before:
            deadline, before = time.monotonic() + DEADLINE, now
    return is_met
