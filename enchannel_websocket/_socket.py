"""The WebSocket of a kernel's channels. Exceptions of websockets while connecting are translated here."""

from __future__ import annotations

import socket
from urllib.parse import quote

import websockets
from websockets.asyncio.client import ClientConnection, connect

from enchannel.errors import ConnectionFailed
from enchannel.wire.websocket import SUBPROTOCOL
from enchannel_websocket._http import HttpClient, ServerRefused, brief
from enchannel_websocket._logs import quiet

__all__ = ["KernelSocket", "open_socket"]

CLOSE_TIMEOUT = 1.0
# Servers leave Nagle's algorithm on: a message waits for the acknowledgement of the previous one, which
# this side would delay for up to 40 ms. The system resets the option, hence it is set after each read.
QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class KernelSocket(ClientConnection):
    """A WebSocket that records when it last received any data.

    Attributes:
        received_at: Time of the event loop.
    """

    received_at: float = 0.0

    def data_received(self, data: bytes) -> None:
        self.received_at = self.loop.time()
        if QUICKACK is not None:
            sock: socket.socket = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)
        super().data_received(data)


class _Connect(connect):
    """Does not follow redirects, which would take the token along."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


async def open_socket(
    client: HttpClient,
    kernel_id: str,
    session_id: str,
    *,
    max_received: int,
    legacy: bool,
    missing: Exception,
) -> KernelSocket:
    """Open the WebSocket of a kernel.

    Args:
        client: Client of the server.
        kernel_id: The kernel's id.
        session_id: Id of the client's session.
        max_received: Largest message, in bytes.
        legacy: Do not offer the newer framing.
        missing: Raised if the kernel does not exist.

    Raises:
        ConnectionFailed: The server could not be reached, or refused.
    """
    await client.log_in()
    client.pending = f"the WebSocket of kernel {kernel_id}"
    url = f"{client.websocket_base}/api/kernels/{quote(kernel_id, safe='')}/channels"
    opening = _Connect(
        f"{url}?session_id={quote(session_id, safe='')}",
        additional_headers=client.headers | client.cookie_header(),
        user_agent_header=None,
        subprotocols=None if legacy else [websockets.Subprotocol(SUBPROTOCOL)],
        ssl=client.ssl if url.startswith("wss:") else None,
        proxy=None if client.proxy is None else client.proxy.url,
        open_timeout=None,
        # The link sends pings itself, and accepts any data as a sign of life.
        ping_interval=None,
        close_timeout=CLOSE_TIMEOUT,
        logger=quiet,
        max_size=max_received,
        # It is read continuously, even if subscribers are slow.
        max_queue=None,
        # Jupyter's own clients have none either: it is slower on loopback and local networks.
        compression=None,
        create_connection=KernelSocket,
    )
    try:
        opened = await opening
    except websockets.InvalidStatus as error:
        status = error.response.status_code
        client.raise_if_rejected(status, error.response.headers.get("Location", ""))
        if status == 404:
            raise missing from None
        refused = ServerRefused(
            f"{client} refused the WebSocket of kernel {kernel_id}: HTTP {status}"
        )
        refused.status = status
        raise refused from None
    except (websockets.ProxyError, ImportError) as error:  # python-socks is optional
        raise client.proxy_failed(brief(error)) from None
    except websockets.InvalidHandshake as error:
        raise client.not_jupyter(f"failed the WebSocket handshake ({brief(error)})") from None
    except Exception as error:  # of websockets and the libraries below it
        raise client.unreachable(error) from None
    if not isinstance(opened, KernelSocket):
        raise ConnectionFailed(
            f"opening a WebSocket to {client} failed: unexpected class {type(opened).__name__}"
        )
    return opened
