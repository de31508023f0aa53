"""Runs the command in pipes, as a shell script does."""

import os
import subprocess
import sys
from collections.abc import Mapping

from tests.rigs import DEADLINE

COMMAND = (sys.executable, "-m", "enchannel")


def enchannel(
    *arguments: str, stdin: str = "", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends."""
    ended = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin.encode(),
        capture_output=True,
        env={**os.environ, **(environ or {})},
        timeout=DEADLINE,
    )
    # subprocess would convert carriage returns to newlines.
    out, err = ended.stdout.decode(), ended.stderr.decode()
    return subprocess.CompletedProcess(ended.args, ended.returncode, out, err)
