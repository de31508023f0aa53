"""JSON as kernels write it: a strict, fast decoder first, then a tolerant one."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from enchannel.errors import MalformedFrame
from enchannel.wire.nesting import MAX_DEPTH, is_too_deep

__all__ = ["dumps", "loads", "loads_tolerantly"]

dumps = msgspec.json.encode
_decode = msgspec.json.Decoder().decode


def loads(data: bytes | memoryview) -> tuple[Any, str]:
    """Return the value, and a description of its flaw (``""`` without one).

    Raises:
        MalformedFrame: the data is not JSON, or nested too deeply.
    """
    if len(data) > MAX_DEPTH and is_too_deep(bytes(data)):
        raise MalformedFrame("is nested too deeply")
    try:
        return _decode(data), ""
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return loads_tolerantly(data)


def loads_tolerantly(data: bytes | memoryview) -> tuple[Any, str]:
    """Decode the invalid JSON of Python's encoders: NaN, lone surrogates, bytes that are not UTF-8.

    Returns:
        The value and a description of its flaw, as ``loads`` does.

    Raises:
        MalformedFrame: the data is not JSON, or nested too deeply.
    """
    raw = bytes(data)
    flaw = ""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text, flaw = raw.decode(errors="replace"), "is not UTF-8 (decoded with replacement)"
    try:
        value = json.loads(text)
        again = json.dumps(value, ensure_ascii=False)
        if not _encodable(again):
            flaw = "has lone surrogates (replaced)"
            value = json.loads(again.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except RecursionError:
        raise MalformedFrame("is nested too deeply") from None
    except ValueError as error:
        raise MalformedFrame(f"is not JSON ({error})") from None
    return value, flaw


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
