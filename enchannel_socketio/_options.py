"""Options of the Socket.IO backend, defined once for all functions that take them."""

from __future__ import annotations

from dataclasses import dataclass

from enchannel.backends import ServerKeywords, ServerOptions

__all__ = ["SocketioKeywords", "SocketioOptions"]

DEFAULT_MAX_RECEIVED = 1 << 30


class SocketioKeywords(ServerKeywords, total=False):
    """Keyword arguments of ``SocketioBackend.open`` and ``launch``.

    Attributes:
        token: Access token; by default the one in the URL. It is sent in a header only. With a token that
            only allows watching, the link receives iopub and cannot send.
        headers: Headers to send with every request.
        ssl: TLS settings for ``https``; by default the system's trusted certificates.
        allow_http: Allow ``http`` to another machine, which sends token and code in the clear.
        max_received: Largest message, in bytes, to receive; default 1 GiB. A relay that sends a larger one
            is disconnected.
        reconnect_timeout: Seconds after which a lost connection is given up; default 60.
    """

    max_received: int
    reconnect_timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketioOptions(ServerOptions):
    """The values of ``SocketioKeywords``."""

    max_received: int = DEFAULT_MAX_RECEIVED
    reconnect_timeout: float = 60.0
