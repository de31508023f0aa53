"""What the tests stand on."""

from typing import Final

# Generous: only a failure waits as long as this.
DEADLINE: Final = 30.0
"""Seconds after which a test gives up on whatever it waits for."""
