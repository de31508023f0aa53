"""Secrets in URLs: the token of a query, a user name, a password."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

from enchannel._protocol.connection_info import Secret

__all__ = ["redact_url", "token_of_url"]


def redact_url(text: str) -> str:
    """Return a URL without its query, its fragment, user name and password; other text unchanged."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", text)[0]) if "://" in text else text


def token_of_url(url: str) -> Secret:
    """Return the token in a URL's query, or else its password; empty if it has none or cannot be parsed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return Secret("")
    return Secret(parse_qs(parts.query).get("token", [""])[0] or unquote(parts.password or ""))
