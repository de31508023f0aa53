"""The wire format of Jupyter, written without the libraries that are measured."""

import json
import uuid
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

__all__ = ["DELIMITER", "Info", "Signer", "displays", "execute_request", "read_info", "request"]

DELIMITER: Final = b"<IDS|MSG>"
SHA256_BLOCK_SIZE = 64  # bytes
Info = Mapping[str, Any]
"""The content of a connection file."""


class Signer:
    """HMAC-SHA256 from two precomputed states: the fastest way in pure Python."""

    def __init__(self, key: bytes) -> None:
        padded = (sha256(key).digest() if len(key) > SHA256_BLOCK_SIZE else key).ljust(
            SHA256_BLOCK_SIZE, b"\0"
        )
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def __call__(self, parts: Iterable[bytes]) -> bytes:
        inner = self._inner.copy()
        inner.update(b"".join(parts))
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest().encode()


def read_info(path: Path) -> Info:
    """Read a connection file."""
    info: Info = json.loads(path.read_bytes())
    return info


def request(
    sign: Signer, msg_type: str, content: Mapping[str, Any], session: str
) -> tuple[str, list[bytes]]:
    """Return the id of a new request, and its signed frames from the delimiter on."""
    msg_id = uuid.uuid4().hex
    header = {
        "msg_id": msg_id,
        "msg_type": msg_type,
        "username": "ada",
        "session": session,
        "date": "2026-01-01T00:00:00.000000Z",
        "version": "5.4",
    }
    parts = [json.dumps(header).encode(), b"{}", b"{}", json.dumps(content).encode()]
    return msg_id, [DELIMITER, sign(parts), *parts]


def execute_request(code: str) -> dict[str, Any]:
    """Return the content of an ``execute_request``."""
    return {
        "code": code,
        "silent": False,
        "store_history": False,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }


def displays(count: int, size: int) -> str:
    """Return code for ipykernel that sends ``count`` display_data with texts of ``size`` characters."""
    return (
        "from IPython.display import publish_display_data as show\n"
        f"tail = ' ' + {size - 9} * 'x'\n"
        f"for number in range({count}):\n"
        "    show({'text/plain': f'{number:08}' + tail})\n"
    )
