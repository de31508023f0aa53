"""ZeroMQ frames made by hand, so that enchannel's codec is not tested with itself."""

import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

DELIMITER: Final = b"<IDS|MSG>"
KEY: Final = b"the-key-of-the-tests"
"""A key that tests search for wherever a secret could leak; the text occurs nowhere else."""


def signature(key: bytes, parts: Sequence[bytes], digest: str = "sha256") -> bytes:
    if not key:
        return b""
    return hmac.new(key, b"".join(parts), getattr(hashlib, digest)).hexdigest().encode()


def signed(key: bytes, *parts: bytes, buffers: Sequence[bytes] = ()) -> list[bytes]:
    """Return the frames of a message, beginning with the delimiter, signed with the key."""
    return [DELIMITER, signature(key, parts), *parts, *buffers]


def parts(
    msg_type: str = "stream",
    content: Mapping[str, Any] | None = None,
    *,
    parent: bytes = b"{}",
    metadata: Mapping[str, Any] | None = None,
    **header: Any,
) -> tuple[bytes, bytes, bytes, bytes]:
    """Return the four JSON parts of a message."""
    known = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": msg_type,
        "session": "kernel",
        "username": "kernel",
        "date": "2024-02-29T12:30:00.123456Z",
        "version": "5.4",
    }
    return (
        json.dumps(known | header).encode(),
        parent,
        json.dumps(metadata or {}).encode(),
        json.dumps(content or {}).encode(),
    )
