"""Options for connecting to a server, defined once for all functions that take them."""

from __future__ import annotations

import re
import ssl as tls
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypedDict

from enchannel._protocol.connection_info import Secret
from enchannel.errors import ConnectionFailed

__all__ = ["ServerKeywords", "ServerOptions"]

_HEADER = re.compile(r"[!-9;-~]+: [\t -~]*")


class ServerKeywords(TypedDict, total=False):
    """Keyword arguments of every function that connects to a server.

    Attributes:
        token: Access token; by default the one in the URL. It is sent in a header only.
        headers: Headers to send with every request.
        ssl: TLS settings for ``https``; by default the system's trusted certificates.
        allow_http: Allow ``http`` to another machine, which sends token and code in the clear.
    """

    token: str | None
    headers: Mapping[str, str] | None
    ssl: tls.SSLContext | None
    allow_http: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The values of ``ServerKeywords``, with defaults, and with secrets that no ``repr`` shows.

    A subclass adds fields; those whose default is a ``Secret`` are passed as strings.
    """

    token: Secret = Secret("")
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    ssl: tls.SSLContext | None = None
    allow_http: bool = False

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, object]) -> Self:
        """Create options from keyword arguments.

        Raises:
            TypeError: An option is unknown, a secret is not a string, or a size or duration not a number.
            ValueError: A size or duration is not positive.
        """
        values: dict[str, Any] = dict(keywords)
        known = {option.name: option.default for option in fields(cls)}
        for name in values:
            if name not in known:
                raise TypeError(f"unknown option {name!r}; options: {', '.join(sorted(known))}")
        for name, default in known.items():
            if isinstance(default, Secret):
                value = values.get(name)
                # The value is not shown, since it may be a secret.
                if value is not None and not isinstance(value, str):
                    raise TypeError(f"{name} must be a string or None, not {type(value).__name__}")
                values[name] = Secret(value or "")
            elif type(default) in (int, float) and name in values:
                _validate_number(name, values[name])
        values["headers"] = values.get("headers") or {}
        return cls(**values)

    def with_default_token(self, token: Secret) -> Self:
        """Return options with a token, from a URL, that is used if none was passed."""
        return replace(self, token=self.token or token)

    def request_headers(self, token_scheme: str) -> dict[str, str]:
        """Return the headers of every request.

        Args:
            token_scheme: First word of the ``Authorization`` header.

        Raises:
            ConnectionFailed: A header or the token contains a character that is not allowed.
        """
        headers = {"User-Agent": "enchannel", **self.headers}
        # A token that was read from a file ends with a newline.
        if token := self.token.reveal().strip():
            headers["Authorization"] = f"{token_scheme} {token}"
        for name, value in headers.items():
            if not _HEADER.fullmatch(f"{name}: {value}"):
                culprit = "the token" if name == "Authorization" else f"the header {name!r}"
                raise ConnectionFailed(
                    f"{culprit} contains characters that are not allowed in an HTTP header"
                )
        return headers


def _validate_number(name: str, value: object) -> None:
    if type(value) is bool or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if name == "reconnect_timeout":  # with 0, it is tried once
        if not value >= 0:
            raise ValueError(f"{name} must be a number from 0, not {value!r}")
    elif not value > 0:
        raise ValueError(f"{name} must be a positive number, not {value!r}")
