"""A link to one kernel over its WebSocket."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import websockets

from enchannel import AnyMessage, ChannelName, KernelModel, Session
from enchannel.abc import Capabilities, KernelState, Lifecycle, Link
from enchannel.backends import ConnectionLoss, EventLoopThread, Lease, LinkPhase, ReconnectingLink
from enchannel.errors import (
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    InvalidMessage,
    MalformedFrame,
    MessagesMayBeMissing,
)
from enchannel.wire import legacy_websocket, websocket
from enchannel.wire.parts import Report
from enchannel_websocket._kernel_monitor import KernelMonitor
from enchannel_websocket._logs import log
from enchannel_websocket._options import WebsocketOptions
from enchannel_websocket._server import JupyterClient
from enchannel_websocket._socket import KernelSocket

__all__ = ["WebsocketLink"]

# Between two probes of a kernel that sends nothing.
PROBE_INTERVAL = 0.2
# A busy kernel need not answer for longer than this: its server has subscribed to it by then.
BUSY_PROBE_TIMEOUT = 1.0
# Seconds. A server that drops output sends nothing for longer than its window of 3 s.
IDLE_GRACE = 10.0
# Close codes of a WebSocket.
ABNORMAL_CLOSURE, MESSAGE_TOO_BIG = 1006, 1009
CHANNELS = frozenset(ChannelName) - {ChannelName.HEARTBEAT}


class WebsocketLink(ReconnectingLink[bytes | str]):
    """A link to one kernel over its WebSocket.

    Args:
        server: The server that has the kernel; closed with the link.
        kernel_id: The kernel's id on that server.
        session: The client's session, by which the server recognizes it when it reconnects.
        lease: Keeps the event loop running; released when the link is closed.
        options: Timeouts and limits.

    Attributes:
        monitor: Monitors the kernel.
    """

    def __init__(
        self,
        server: JupyterClient,
        kernel_id: str,
        session: Session,
        lease: Lease[EventLoopThread],
        options: WebsocketOptions,
    ) -> None:
        super().__init__(
            kernel_id,
            str(server),
            CHANNELS,
            lease,
            reconnect_timeout=options.reconnect_timeout,
            log=log,
        )
        self.monitor = KernelMonitor(self, server, kernel_id, session)
        self._server = server
        self._session = session
        self._options = options
        self._socket: KernelSocket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._is_legacy = False
        self._kernel_state = ""
        # Set by a message on iopub, which proves that those of the kernel arrive.
        self._iopub_received = asyncio.Event()

    def link(self, lifecycle: Lifecycle | None, *, owned: bool) -> Link:
        """Return the link for the core."""
        return Link(
            pairs=self.pairs(),
            events=self.events,
            close=self.close,
            kernel_id=self.kernel_id,
            capabilities=Capabilities(
                channels=CHANNELS,
                max_sent=self._options.max_sent,
                can_resume=True,
                idle_grace=IDLE_GRACE,
                idle_is_last=False,
            ),
            lifecycle=lifecycle,
            owned=owned,
        )

    def encode(self, message: AnyMessage) -> bytes | str:
        frame = self._encoded(message)
        size = len(frame) if isinstance(frame, bytes) else len(frame.encode())
        if size > self._options.max_sent:
            raise InvalidMessage(
                f"a message of {size} bytes exceeds the limit of {self._options.max_sent}, above which the "
                "server would close the connection; if your server accepts more (its setting is "
                "websocket_max_message_size in tornado_settings), pass max_sent=…"
            )
        return frame

    def _encoded(self, message: AnyMessage) -> bytes | str:
        return legacy_websocket.encode(message) if self._is_legacy else websocket.encode(message)

    # -- connecting -------------------------------------------------------------------------------

    async def connect(self) -> None:
        model = await self._server.kernel(self.kernel_id)
        socket = await self._server.open_socket(
            self.kernel_id,
            self._session.id,
            max_received=self._options.max_received,
            legacy=self._options.legacy,
        )
        self._socket, self._is_legacy = socket, socket.subprotocol is None
        self._kernel_state = model.state
        self._iopub_received.clear()
        self._reader = asyncio.create_task(self._read(socket))
        proof = asyncio.create_task(self._wait_for_iopub(socket, model))
        try:
            await asyncio.wait((proof, self._reader), return_when=asyncio.FIRST_COMPLETED)
            if self._reader.done():
                raise ConnectionFailed(self._how_it_broke(socket))
            await proof
        except websockets.ConnectionClosed:
            raise ConnectionFailed(self._how_it_broke(socket)) from None
        finally:
            proof.cancel()

    async def _wait_for_iopub(self, socket: KernelSocket, model: KernelModel) -> None:
        """Wait until no message can be lost: the server has subscribed to the kernel, and iopub works.

        A server answers no ping before it has subscribed.
        """
        self._server.pending = f"messages of kernel {self.kernel_id} on iopub"
        await (await socket.ping())
        waited = 0.0
        while not self._iopub_received.is_set():
            if model.state == "busy" and waited >= BUSY_PROBE_TIMEOUT:
                return
            await self.monitor.probe()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._iopub_received.wait(), PROBE_INTERVAL)
            waited += PROBE_INTERVAL

    async def send_now(self, messages: list[AnyMessage]) -> None:
        """Send messages ahead of the queue; dropped if there is no connection."""
        if self._socket is not None:
            with suppress(websockets.ConnectionClosed):
                for message in messages:
                    await self._socket.send(self._encoded(message))

    def on_connected(self, *, is_first: bool) -> None:
        if self._socket is not None:
            self.run_while_connected(self._keep_alive(self._socket))
        self.run_while_connected(self.monitor.poll(self._options.poll_interval))
        if self._kernel_state == "dead":
            self.monitor.on_dead()
        elif self._kernel_state == "busy" and is_first:
            self.emit(KernelState.BUSY)
        if is_first:
            self.monitor.on_connected()

    def on_reconnected(self, loss: ConnectionLost) -> None:
        self.monitor.on_reconnected()
        self.emit(
            MessagesMayBeMissing(
                f"{loss}, and is restored. Messages that the server buffered are delivered; those that "
                "were in transit, or sent while another client was connected, are lost"
            )
        )

    async def disconnect(self) -> None:
        socket, self._socket = self._socket, None
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
        if socket is not None:
            socket.transport.abort()
            await socket.wait_closed()

    # -- while connected --------------------------------------------------------------------------

    async def wait_until_lost(self) -> ConnectionLoss:
        reader, socket = self._reader, self._socket
        assert reader is not None  # noqa: S101  # set by connect
        assert socket is not None  # noqa: S101
        await reader
        code = socket.close_code
        return ConnectionLoss(
            ConnectionLost(self._how_it_broke(socket)),
            is_rejection=code not in (None, ABNORMAL_CLOSURE, MESSAGE_TOO_BIG),
        )

    async def _keep_alive(self, socket: KernelSocket) -> None:
        """Abort the connection if nothing at all is received for ``keepalive_timeout``."""
        loop, half = asyncio.get_running_loop(), self._options.keepalive_timeout / 2
        while True:
            await asyncio.sleep(half)
            if loop.time() - socket.received_at < half:
                continue
            with suppress(TimeoutError, websockets.ConnectionClosed):
                await asyncio.wait_for(_ping(socket), half)
            if loop.time() - socket.received_at >= 2 * half:
                socket.transport.abort()
                return

    def end(self, error: EnchannelError, *, keep_channels: bool = False) -> None:
        super().end(error, keep_channels=keep_channels)
        if self._socket is not None and not keep_channels:
            self._socket.transport.abort()

    def _how_it_broke(self, socket: KernelSocket) -> str:
        code, reason, sent = socket.close_code, socket.close_reason, socket.protocol.close_sent
        if sent is not None and sent.code == MESSAGE_TOO_BIG:
            limit = self._options.max_received
            return f"{self.description} broke (the server sent a message larger than max_received={limit})"
        if code is None or code == ABNORMAL_CLOSURE:
            return f"{self.description} broke"
        if code == MESSAGE_TOO_BIG:
            reason = "a message exceeded the server's limit; set max_sent=… to that limit"
        return f"{self.description} broke (the server closed it: {code}{f', {reason}' if reason else ''})"

    # -- sending and receiving --------------------------------------------------------------------

    async def send(self, frame: bytes | str) -> None:
        if self._socket is not None:
            try:
                await self._socket.send(frame)
            except websockets.ConnectionClosed:
                raise ConnectionLost(self._how_it_broke(self._socket)) from None

    async def flush(self) -> None:
        if self._socket is None:
            return
        try:
            # A server that reads the closing frame drops messages that it has not passed on to the kernel,
            # and it passes them on one iteration of its loop after the one in which it reads them.
            await _ping(self._socket)
            await _ping(self._socket)
            await self._socket.close()
        except websockets.ConnectionClosed:
            raise ConnectionLost(self._how_it_broke(self._socket)) from None

    async def close_client(self) -> None:
        await self._server.close()

    async def _read(self, socket: KernelSocket) -> None:
        decode = _decode_legacy if self._is_legacy else websocket.decode
        report, closed = self.emit, LinkPhase.CLOSED
        with suppress(websockets.ConnectionClosed):
            while True:
                frame = await socket.recv(decode=False)
                if self.phase is closed:
                    continue
                try:
                    self._deliver(decode(frame, report))
                except MalformedFrame as error:
                    self.emit(error)
                except Exception as error:  # must not cost the next message
                    self.emit(
                        MalformedFrame(
                            "a message could be decoded but not handled "
                            f"({type(error).__name__}: {error}); it was dropped"
                        )
                    )

    def _deliver(self, message: AnyMessage) -> None:
        if message.channel is ChannelName.IOPUB:
            self._iopub_received.set()
        self.monitor.on_message(message)
        if not self.monitor.is_probe_answer(message):
            self.incoming[message.channel].on_next(message)


async def _ping(socket: KernelSocket) -> None:
    await (await socket.ping())


def _decode_legacy(frame: bytes, report: Report) -> AnyMessage:
    """Decode a text or a binary frame; a binary one begins with a number far below a brace's."""
    text = None if frame[:1] == b"\0" else frame.decode(errors="surrogateescape")
    return legacy_websocket.decode(frame if text is None else text, report)
