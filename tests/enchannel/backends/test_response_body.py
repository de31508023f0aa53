"""Bodies of HTTP responses, compressed or not, that are read within a limit."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest

from enchannel.backends import MAX_RESPONSE_BYTES, InvalidResponseBody, read_body


def read(*chunks: bytes, encoding: str = "") -> bytes:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return asyncio.run(read_body(stream(), encoding))


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", b"body"),
        ("identity", b"body"),
        (" GZIP", gzip.compress(b"body", mtime=0)),
        ("deflate", zlib.compress(b"body")),
    ],
)
def test_body_is_decompressed(encoding: str, body: bytes) -> None:
    assert read(*(bytes([byte]) for byte in body), encoding=encoding) == b"body"


def test_body_of_maximum_size_is_read() -> None:
    half = b"x" * (MAX_RESPONSE_BYTES // 2)
    assert len(read(half, half)) == MAX_RESPONSE_BYTES
    with pytest.raises(InvalidResponseBody, match="more than 16 MiB"):
        read(half, half, b"x")


def test_gzip_bomb_is_not_expanded() -> None:
    bomb = gzip.compress(b"0" * MAX_RESPONSE_BYTES * 4)
    with pytest.raises(InvalidResponseBody, match="more than 16 MiB"):
        read(bomb, encoding="gzip")
    with pytest.raises(InvalidResponseBody, match="more than 16 MiB"):
        read(bomb[:1_000], bomb[1_000:], encoding="gzip")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x"])
def test_unknown_encoding_is_rejected(encoding: str) -> None:
    with pytest.raises(InvalidResponseBody, match="not requested"):
        read(b"body", encoding=encoding)


def test_damaged_body_is_rejected() -> None:
    with pytest.raises(InvalidResponseBody, match="damaged"):
        read(b"body", encoding="gzip")
