"""Who may do what: tokens, and what is made of them. All that is compared is compared in constant time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

import msgspec

from enchannel import Secret

__all__ = ["COOKIE_LASTS", "Access", "Keys"]

COOKIE_LASTS = 7 * 86_400  # seconds
LINK_LASTS = 3_600  # seconds for which a one-time token is good
LINKS_MOST = 1_000  # one-time tokens that wait to be used


class Access(msgspec.Struct, frozen=True, array_like=True):
    """What somebody may do.

    Attributes:
        kernel_id: The one kernel that may be watched; empty: everything may be done.
    """

    kernel_id: str = ""

    @property
    def is_full(self) -> bool:
        """Whether everything may be done."""
        return not self.kernel_id

    def may_watch(self, kernel_id: str) -> bool:
        """Whether a kernel's output may be seen."""
        return self.is_full or hmac.compare_digest(self.kernel_id.encode(), kernel_id.encode())

    def __str__(self) -> str:
        return "full" if self.is_full else "watch"


class _Cookie(msgspec.Struct, frozen=True, array_like=True):
    access: Access
    until: float


class Keys:
    """What is good for access to a relay.

    Watch tokens and cookies are signed with keys that are made of the token: whoever has the token knows
    them again, after a restart, and in another process.

    Args:
        token: The relay's.
        now: The time, in seconds.
    """

    def __init__(self, token: Secret, now: Callable[[], float] = time.time) -> None:
        self._token = token.reveal().encode()
        self._now = now
        self._links: dict[str, tuple[Access, float]] = {}

    def link(self, access: Access) -> str:
        """A one-time token, for one cookie."""
        if len(self._links) >= LINKS_MOST:
            del self._links[next(iter(self._links))]
        token = secrets.token_urlsafe(32)
        self._links[_digest(token)] = access, self._now() + LINK_LASTS
        return token

    def use_link(self, token: str) -> Access | None:
        """What a one-time token gives access to; it does so once."""
        access, until = self._links.pop(_digest(token), (None, 0.0))
        return access if self._now() < until else None

    def watch_token(self, kernel_id: str) -> str:
        """A token for one kernel's output, and for as long as there is that kernel."""
        return f"watch.{kernel_id}.{self._signature('watch', kernel_id.encode())}"

    def of_token(self, token: str) -> Access | None:
        """What a token gives access to."""
        given = token.encode()
        if hmac.compare_digest(given, self._token):
            return Access()
        if token.startswith("watch.") and token.count(".") == 2:
            kernel_id = token.split(".")[1]
            if kernel_id and hmac.compare_digest(given, self.watch_token(kernel_id).encode()):
                return Access(kernel_id)
        return None

    def cookie(self, access: Access) -> str:
        """What a browser keeps."""
        cookie = msgspec.json.encode(_Cookie(access, self._now() + COOKIE_LASTS))
        return f"{_text(cookie)}.{self._signature('cookie', cookie)}"

    def of_cookies(self, header: str, name: str) -> Access | None:
        """What a browser's cookies give access to."""
        try:
            morsel = SimpleCookie(header).get(name)
        except CookieError:
            return None
        if morsel is None:
            return None
        value, _, signature = morsel.value.partition(".")
        try:
            cookie = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
            if not hmac.compare_digest(
                signature.encode(), self._signature("cookie", cookie).encode()
            ):
                return None
            read = msgspec.json.decode(cookie, type=_Cookie)
        except (ValueError, msgspec.MsgspecError):
            return None
        return read.access if self._now() < read.until else None

    def _signature(self, purpose: str, data: bytes) -> str:
        return _text(hmac.digest(self._token, purpose.encode() + b"\0" + data, "sha256"))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
