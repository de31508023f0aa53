"""Tokens and cookies, and the access that they grant. All comparisons take constant time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

import msgspec

from enchannel import Secret

__all__ = ["COOKIE_LIFETIME", "Grant", "Tokens"]

COOKIE_LIFETIME = 7 * 86_400
ONE_TIME_TOKEN_LIFETIME = 3_600
MAX_ONE_TIME_TOKENS = 1_000


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """The access that a token or cookie grants.

    Attributes:
        kernel_id: The one kernel that may be watched; empty for full access.
    """

    kernel_id: str = ""

    @property
    def is_full(self) -> bool:
        """True for full access."""
        return not self.kernel_id

    def can_watch(self, kernel_id: str) -> bool:
        """Return True if the output of a kernel may be read."""
        return self.is_full or hmac.compare_digest(self.kernel_id.encode(), kernel_id.encode())

    def __str__(self) -> str:
        return "full" if self.is_full else "watch"


class _Cookie(msgspec.Struct, frozen=True, array_like=True):
    grant: Grant
    expires: float


class Tokens:
    """Issues and checks tokens and cookies.

    Watch tokens and cookies are signed with keys derived from the relay's token, so they stay valid after a
    restart, and at other relays with the same token.

    Args:
        token: The token of the relay.
        now: Returns the time in seconds.
    """

    def __init__(self, token: Secret, now: Callable[[], float] = time.time) -> None:
        self._token = token.reveal().encode()
        self._now = now
        self._one_time: dict[str, tuple[Grant, float]] = {}

    def issue_one_time_token(self, grant: Grant) -> str:
        """Return a token that can be exchanged for one cookie."""
        if len(self._one_time) >= MAX_ONE_TIME_TOKENS:
            del self._one_time[next(iter(self._one_time))]
        token = secrets.token_urlsafe(32)
        self._one_time[_digest(token)] = grant, self._now() + ONE_TIME_TOKEN_LIFETIME
        return token

    def redeem_one_time_token(self, token: str) -> Grant | None:
        """Return the grant of a one-time token, which becomes invalid; None if it is not valid."""
        grant, expires = self._one_time.pop(_digest(token), (None, 0.0))
        return grant if self._now() < expires else None

    def watch_token(self, kernel_id: str) -> str:
        """Return a token for reading the output of one kernel, valid as long as the kernel exists."""
        return f"watch.{kernel_id}.{self._signature('watch', kernel_id.encode())}"

    def grant_of_token(self, token: str) -> Grant | None:
        """Return the grant of a token; None if the token is not valid."""
        given = token.encode()
        if hmac.compare_digest(given, self._token):
            return Grant()
        if token.startswith("watch.") and token.count(".") == 2:
            kernel_id = token.split(".")[1]
            if kernel_id and hmac.compare_digest(given, self.watch_token(kernel_id).encode()):
                return Grant(kernel_id)
        return None

    def cookie(self, grant: Grant) -> str:
        """Return the value of a cookie."""
        cookie = msgspec.json.encode(_Cookie(grant, self._now() + COOKIE_LIFETIME))
        return f"{_base64(cookie)}.{self._signature('cookie', cookie)}"

    def grant_of_cookies(self, header: str, name: str) -> Grant | None:
        """Return the grant of the named cookie in a ``Cookie`` header; None if none is valid.

        Cookies of other servers are not parsed, so they can have any form. Of several with that name, which
        a browser sends for several paths, a valid one counts.
        """
        pairs = (pair.strip().partition("=") for pair in header.split(";"))
        grants = [self._grant_of_cookie(value) for key, _, value in pairs if key == name]
        valid = [grant for grant in grants if grant is not None]
        return next((grant for grant in valid if grant.is_full), valid[0] if valid else None)

    def _grant_of_cookie(self, text: str) -> Grant | None:
        value, _, signature = text.partition(".")
        try:
            data = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
            if not hmac.compare_digest(
                signature.encode(), self._signature("cookie", data).encode()
            ):
                return None
            cookie = msgspec.json.decode(data, type=_Cookie)
        except (ValueError, msgspec.MsgspecError):
            return None
        return cookie.grant if self._now() < cookie.expires else None

    def _signature(self, purpose: str, data: bytes) -> str:
        return _base64(hmac.digest(self._token, purpose.encode() + b"\0" + data, "sha256"))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
