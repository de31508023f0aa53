"""Conversions of option values, with errors for the user."""

from __future__ import annotations

import argparse
import math
import threading

__all__ = ["to_count", "to_port", "to_seconds", "to_server_url", "to_speed"]

MAX_PORT = 65_535


def to_server_url(text: str) -> str:
    """Check that a text has a scheme. The error does not repeat the text, which may contain a token."""
    if "://" not in text:
        raise argparse.ArgumentTypeError("a server URL must begin with http:// or https://")
    return text


def to_speed(text: str) -> float:
    """Convert a number above 0, or ``inf``."""
    speed = _to_float(text)
    if not speed > 0:
        raise argparse.ArgumentTypeError(f"must be a number above 0, or inf, not {text!r}")
    return speed


def to_count(text: str) -> int:
    """Convert a whole number above 0."""
    count = _to_int(text)
    if not count > 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r:.80}")
    return count


def to_port(text: str) -> int:
    """Convert the number of a port; 0 stands for any free port."""
    port = _to_int(text)
    if not 0 <= port <= MAX_PORT:
        raise argparse.ArgumentTypeError(
            f"must be a port number from 0 to {MAX_PORT}, not {text!r:.80}"
        )
    return port


def to_seconds(text: str) -> float:
    """Convert a number of seconds above 0."""
    seconds = _to_float(text)
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
    return seconds


def _to_int(text: str) -> int:
    """Return a whole number, or -1 if the text is not one."""
    try:
        return int(text) if text.isdecimal() else -1
    except ValueError:  # too many digits
        return -1


def _to_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
