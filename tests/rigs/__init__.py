"""What the tests stand on."""

import threading
import time
from collections.abc import Callable
from typing import Final

# Generous: only a failure waits as long as this.
DEADLINE: Final = 30.0
"""Seconds after which a test gives up on whatever it waits for."""

# Not in one sleep: CPython has a moment, just before it blocks, in which a signal does not wake it up.
ASLEEP: Final = "import time\nprint('asleep', flush=True)\nwhile True: time.sleep(0.05)"
"""Code that says so, and goes on until it is interrupted."""


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait until something is so that no event tells of; whether it is by the deadline."""
    deadline = time.monotonic() + DEADLINE
    while not (so := condition()) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return so
