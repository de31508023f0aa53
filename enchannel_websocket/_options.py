"""Options of the WebSocket backend, defined once for all functions that take them."""

from __future__ import annotations

from dataclasses import dataclass, field

from enchannel import Secret
from enchannel.backends import ServerKeywords, ServerOptions

__all__ = [
    "JupyterKeywords",
    "JupyterOptions",
    "WebsocketKeywords",
    "WebsocketOptions",
]

# Bytes. The first is Tornado's default limit.
DEFAULT_MAX_SENT, DEFAULT_MAX_RECEIVED = 10 << 20, 1 << 30


class JupyterKeywords(ServerKeywords, total=False):
    """Keyword arguments of every function that connects to a Jupyter server.

    Attributes:
        token: Access token; by default the one in the URL. It is sent in a header only.
        password: Password, for a server that has one instead of a token.
        headers: Headers to send with every request.
        ssl: TLS settings for ``https``; by default the system's trusted certificates.
        proxy: URL of a proxy. By default (True) the one set in the environment, but none for a server on
            this machine; None for none.
        allow_http: Allow ``http`` to another machine, which sends token and code in the clear.
    """

    password: str | None
    proxy: str | bool | None


class WebsocketKeywords(JupyterKeywords, total=False):
    """Keyword arguments of ``WebsocketBackend.open`` and ``launch``, besides those of ``JupyterKeywords``.

    Attributes:
        max_sent: Largest message, in bytes, that the server accepts; default 10 MiB, Tornado's own.
        max_received: Largest message, in bytes, to receive; default 1 GiB. A server that sends a larger one
            is disconnected.
        keepalive_timeout: Seconds after which a server that sends nothing counts as lost; default 30.
        reconnect_timeout: Seconds after which a lost connection is given up; default 60.
        poll_interval: Seconds between checks whether the kernel still exists, which servers do not report;
            default 10.
        legacy: Use the older framing, as if the server did not support the newer; default False.
    """

    max_sent: int
    max_received: int
    keepalive_timeout: float
    reconnect_timeout: float
    poll_interval: float
    legacy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JupyterOptions(ServerOptions):
    """The values of ``JupyterKeywords``."""

    password: Secret = Secret("")
    proxy: str | bool | None = field(default=True, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebsocketOptions(JupyterOptions):
    """The values of ``WebsocketKeywords``."""

    max_sent: int = DEFAULT_MAX_SENT
    max_received: int = DEFAULT_MAX_RECEIVED
    keepalive_timeout: float = 30.0
    reconnect_timeout: float = 60.0
    poll_interval: float = 10.0
    legacy: bool = False
