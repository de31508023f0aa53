"""The nesting limit of JSON, checked before decoding.

A decoder that meets the interpreter's recursion limit raises RecursionError, which is easily handled. But
if the garbage collector runs just before that, the finalizers of unrelated objects are called near the
limit and fail. So the decoders never get there.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final

__all__ = ["MAX_DEPTH", "is_too_deep"]

MAX_DEPTH: Final = 400
"""The maximum number of objects and lists inside each other; Python's own decoder fails at about 1,000."""

_BRACKETS = b"[{]}"
_NOT_STRUCTURAL = bytes(set(range(256)) - set(_BRACKETS + b'"'))
_STEPS = dict(zip(_BRACKETS, (1, 1, -1, -1), strict=True))


def is_too_deep(data: bytes) -> bool:
    """Return True if JSON is nested more than ``MAX_DEPTH`` levels deep.

    Data that is not JSON is checked up to the first error, where a decoder stops.
    """
    if len(data) <= MAX_DEPTH:
        return False
    # Searching is 20 times as fast as counting, and a large output rarely contains brackets.
    if data.find(b"{", 1) < 0 and data.find(b"[", 1) < 0:
        return False
    return data.count(b"[") + data.count(b"{") > MAX_DEPTH and _depth(data) > MAX_DEPTH


def _depth(data: bytes) -> int:
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Strings are the odd parts between quotes.
    brackets = b"".join(data.translate(None, _NOT_STRUCTURAL).split(b'"')[::2])
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)
