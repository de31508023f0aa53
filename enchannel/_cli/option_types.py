"""Conversions of option values, with errors for the user."""

from __future__ import annotations

import argparse
import math
import threading

__all__ = ["to_count", "to_seconds", "to_server_url", "to_speed"]


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
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


def to_seconds(text: str) -> float:
    """Convert a number of seconds above 0."""
    seconds = _to_float(text)
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
    return seconds


def _to_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
