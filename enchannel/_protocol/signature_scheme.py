"""The names of signature schemes, such as ``hmac-sha256``."""

from __future__ import annotations

import hashlib

from enchannel._protocol.errors import ConnectionFailed

__all__ = ["hash_name_of"]


def hash_name_of(scheme: str) -> str:
    """Return the name of the hash in a scheme: ``"sha256"`` for ``"hmac-sha256"``.

    Raises:
        ConnectionFailed: the scheme is not ``hmac-`` and a hash that ``hashlib`` has.
    """
    kind, _, name = scheme.partition("-")
    if kind != "hmac" or name not in hashlib.algorithms_available or "shake" in name:
        raise ConnectionFailed(
            "signature_scheme must be 'hmac-' and the name of a hash in hashlib, such as "
            f"'hmac-sha256', not {scheme!r}"
        )
    return name
