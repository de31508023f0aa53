"""The command as a shell script uses it: in pipes."""

import os
import subprocess
import sys
from collections.abc import Mapping

from tests.rigs import DEADLINE

COMMAND = (sys.executable, "-m", "enchannel")


def enchannel(
    *arguments: str, stdin: str = "", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    ended = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin.encode(),
        capture_output=True,
        env={**os.environ, **(environ or {})},
        timeout=DEADLINE,
    )
    # Not by subprocess, which would make newlines of carriage returns.
    out, err = ended.stdout.decode(), ended.stderr.decode()
    return subprocess.CompletedProcess(ended.args, ended.returncode, out, err)
