"""Loggers, and filters that keep secrets out of the logs of httpcore and websockets, at any level.

At DEBUG websockets logs the headers that it sends, and httpcore those that it receives.
"""

from __future__ import annotations

import logging
import re

__all__ = ["log", "quiet"]

log = logging.getLogger("enchannel.websocket")

quiet = logging.Logger("enchannel.websocket.library", logging.INFO)
"""The logger for websockets. It is not registered, so its level cannot be set to DEBUG by name."""
quiet.parent = log

_COOKIE = re.compile(r"(b?['\"]set-cookie['\"], b?['\"])[^'\"]*", re.IGNORECASE)


def _redact_cookies(record: logging.LogRecord) -> bool:
    if isinstance(record.msg, str):
        record.msg = _COOKIE.sub(r"\1<cookie>", record.msg)
    return True


for _name in ("httpcore.http11", "httpcore.http2"):
    logging.getLogger(_name).addFilter(_redact_cookies)
