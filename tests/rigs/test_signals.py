"""Child processes of the tests have the default signals, wherever the tests are started."""

import subprocess
import sys

import pytest

from tests.rigs import DEADLINE

NAMES = ("SIGINT", "SIGHUP", "SIGQUIT")
PRINT_IGNORED = (
    "import signal\n"
    f"print([n for n in {NAMES} if signal.getsignal(getattr(signal, n)) is signal.SIG_IGN])"
)
# Ignores the signals, as a shell does for processes in the background, and runs a command.
IGNORE_AND_RUN = (
    "import os, signal, sys\n"
    f"for n in {NAMES}: signal.signal(getattr(signal, n), signal.SIG_IGN)\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


def test_children_ignore_no_signals() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PRINT_IGNORED], capture_output=True, text=True, timeout=DEADLINE
    )
    assert run.stdout == "[]\n", run.stderr


def test_children_ignore_no_signals_in_the_background() -> None:
    test = f"{__file__}::{test_children_ignore_no_signals.__name__}"
    run = subprocess.run(
        [sys.executable, "-c", IGNORE_AND_RUN, "-m", "pytest", "-q", test],
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
    )
    assert run.returncode == 0, run.stdout + run.stderr
