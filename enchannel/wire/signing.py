"""Signatures: an HMAC over the four JSON parts of a message, exactly as on the wire."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from enchannel._protocol.signature_scheme import hash_name_of
from enchannel.errors import InvalidSignature, ReplayedFrame

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["Part", "ReplayGuard", "Signer"]

Part: TypeAlias = bytes | memoryview


class Signer:
    """Signs and verifies with one key. With an empty key, nothing is signed and every message is accepted.

    Args:
        key: The key.
        scheme: ``hmac-`` and the name of a hash in ``hashlib``.

    Attributes:
        states: The inner and outer hash of the HMAC, already fed with the key; None without a key.

    Raises:
        ConnectionFailed: an unknown scheme.
    """

    def __init__(self, key: bytes, scheme: str = "hmac-sha256") -> None:
        digest = hash_name_of(scheme)
        self._keyed = hmac.new(key, digestmod=digest) if key else None
        self.states: tuple[_Hash, _Hash] | None = _states(key, digest) if key else None

    @property
    def signs(self) -> bool:
        """True if there is a key."""
        return self._keyed is not None

    def sign(self, parts: Iterable[Part]) -> bytes:
        """Return the signature of the four parts as lowercase hex; ``b""`` without a key."""
        if self._keyed is None:
            return b""
        state = self._keyed.copy()
        for part in parts:
            state.update(part)
        return state.hexdigest().encode()

    def verify(self, signature: bytes, parts: Iterable[Part]) -> None:
        """Compare a signature in constant time.

        Raises:
            InvalidSignature: the signature is missing, or made with another key.
        """
        if self._keyed is None:
            return
        if not signature:
            raise InvalidSignature("is not signed, but this connection has a key")
        if not hmac.compare_digest(self.sign(parts), signature):
            raise InvalidSignature("has a signature that does not match the key of this connection")

    def __repr__(self) -> str:
        return "Signer(<key>)" if self.signs else "Signer(unsigned)"


class ReplayGuard:
    """Detects replays by the signatures that one socket received.

    Args:
        size: The minimum number of remembered signatures; the maximum is twice that.
    """

    def __init__(self, size: int = 32_768) -> None:
        self._size = size
        self._recent: set[bytes] = set()
        self._older: set[bytes] = set()

    def raise_if_replayed(self, signature: bytes) -> None:
        """Remember a signature.

        Raises:
            ReplayedFrame: the signature was already received.
        """
        if not self.remember(signature):
            raise ReplayedFrame("was seen before on this socket")

    def remember(self, signature: bytes) -> bool:
        """Remember a signature, and return True if it is new."""
        if signature in self._recent or signature in self._older:
            return False
        self._recent.add(signature)
        if len(self._recent) >= self._size:
            self._older, self._recent = self._recent, set()
        return True


def _states(key: bytes, digest: str) -> tuple[_Hash, _Hash]:
    size = hashlib.new(digest).block_size
    if len(key) > size:
        key = hashlib.new(digest, key).digest()
    padded = key.ljust(size, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in padded) for pad in (0x36, 0x5C))
    return hashlib.new(digest, inner), hashlib.new(digest, outer)
