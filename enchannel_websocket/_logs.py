"""What the two libraries may log: nothing with a secret in it, at whatever level.

At DEBUG one of them shows the headers that it sends, the other those that it is sent.
"""

from __future__ import annotations

import logging
import re

__all__ = ["log", "quiet"]

log = logging.getLogger("enchannel.websocket")

quiet = logging.Logger("enchannel.websocket.library", logging.INFO)
"""For the WebSockets: nobody can turn it to DEBUG by a name."""
quiet.parent = log

_COOKIE = re.compile(r"(b?['\"]set-cookie['\"], b?['\"])[^'\"]*", re.IGNORECASE)


def _without_cookies(record: logging.LogRecord) -> bool:
    if isinstance(record.msg, str):
        record.msg = _COOKIE.sub(r"\1<cookie>", record.msg)
    return True


for _name in ("httpcore.http11", "httpcore.http2"):
    logging.getLogger(_name).addFilter(_without_cookies)
