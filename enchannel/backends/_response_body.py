"""Reading the body of an HTTP response within a limit that includes its expansion if it is compressed."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable
from typing import Final

__all__ = ["MAX_RESPONSE_BYTES", "InvalidResponseBody", "read_body"]

MAX_RESPONSE_BYTES: Final = 16 << 20
"""The maximum size of a response, in bytes; the kernels and kernelspecs of a server take far less."""

# zlib reads both the gzip and the zlib format with this window size.
_ANY_FORMAT = 47
_COMPRESSED = ("gzip", "x-gzip", "deflate")


class InvalidResponseBody(Exception):
    """Raised for a body that is too large or damaged; its text is a predicate: "sent …"."""


async def read_body(chunks: AsyncIterable[bytes], encoding: str = "") -> bytes:
    """Read the body of an HTTP response.

    Args:
        chunks: The body as received, not decompressed.
        encoding: The ``Content-Encoding`` header.

    Raises:
        InvalidResponseBody: It is larger than ``MAX_RESPONSE_BYTES``, damaged, or has an unknown encoding.
    """
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", *_COMPRESSED):
        raise InvalidResponseBody("sent an answer in an encoding that was not requested")
    decompressor = zlib.decompressobj(_ANY_FORMAT) if encoding in _COMPRESSED else None
    body = bytearray()
    try:
        async for chunk in chunks:
            if decompressor is not None:
                chunk = decompressor.decompress(chunk, MAX_RESPONSE_BYTES + 1 - len(body))
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise InvalidResponseBody(
                    f"sent an answer of more than {MAX_RESPONSE_BYTES >> 20} MiB"
                )
    except zlib.error:
        raise InvalidResponseBody("sent a damaged answer") from None
    return bytes(body)
