"""A kernel that answers requests with a function, on any transport."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Protocol, TypeAlias, cast

import enchannel as ec
from enchannel import AnyMessage, ChannelName, Session
from enchannel import messages as build

__all__ = ["FakeKernel", "Fault", "KernelEnd", "RequestHandler", "Send", "echo"]

RequestHandler: TypeAlias = Callable[[AnyMessage], Iterable[AnyMessage]]
"""A function from a request to its outputs and its reply.

If it is a generator, an ``input_request`` that it yields evaluates to the client's ``input_reply``; no
other message is answered.
"""

Send: TypeAlias = Callable[[AnyMessage], None]
Fault: TypeAlias = Callable[[AnyMessage, Send], None]
"""A function that decides about each message that the kernel sends.

It passes the message to the other function unchanged or changed, later, several times, or not at all.
"""

REQUEST_CHANNELS = (ChannelName.SHELL, ChannelName.CONTROL)


class KernelEnd(Protocol):
    """The kernel's end of a transport: an ``InMemoryKernel`` or any ``Rig``."""

    def on_message(self, callback: Callable[[AnyMessage], None], /) -> None: ...
    def send(self, message: AnyMessage, /) -> None: ...


def echo(request: AnyMessage) -> Iterator[AnyMessage]:
    """Yield the code of an ``execute_request`` as output, and a reply to any request."""
    kind = request.header.msg_type
    if kind == "execute_request":
        yield build.stream("stdout", request.content["code"])
        yield build.execute_reply(1, parent=request)
    elif kind == "kernel_info_request":
        language = {"name": "echo", "version": "1", "file_extension": ".txt"}
        yield build.kernel_info_reply(
            implementation="fake",
            implementation_version="1",
            language_info=language,  # type: ignore[arg-type]  # it has the required keys only
            parent=request,
            channel=request.channel,
        )
    else:
        reply = kind.removesuffix("_request") + "_reply"
        yield ec.create_message(reply, {"status": "ok"}, channel=request.channel)


class FakeKernel:
    """A kernel that answers requests with a function, one at a time.

    It sends busy before and idle after each answer, and sets the request as the parent of messages without
    one. If the function raises, the kernel sends an error as for code that raises. The function is called
    on the thread on which ``end`` delivers the request. ``docs/testing.md`` shows its use.

    Args:
        end: The kernel's end of the transport. The fake kernel registers itself with ``end.on_message``.
        handler: The function that answers requests.

    Attributes:
        received: The messages from clients, in order.
        session: The session of the kernel's own messages.
    """

    def __init__(self, end: KernelEnd, handler: RequestHandler = echo) -> None:
        self.received: list[AnyMessage] = []
        self.session: Session = Session(username="kernel")
        self._end = end
        self._handler = handler
        self._faults: tuple[Fault, ...] = ()
        self._waiting_for_input: (
            tuple[AnyMessage, Generator[AnyMessage, AnyMessage, None]] | None
        ) = None
        self._requests: deque[AnyMessage] = deque()
        self._sending = threading.RLock()
        end.on_message(self.receive)

    def send(self, *messages: AnyMessage) -> None:
        """Send messages, through the faults; from any thread."""
        for message in messages:
            self._send_through(self._faults, self.session.fill_headers(message))

    def inject_faults(self, *faults: Fault) -> None:
        """From now on, pass each message that is sent through the faults, in this order."""
        self._faults = faults

    def clear_faults(self) -> None:
        """From now on, send messages as they are."""
        self._faults = ()

    def _send_through(self, faults: tuple[Fault, ...], message: AnyMessage) -> None:
        with self._sending:
            if faults:
                first, *rest = faults
                first(message, lambda passed: self._send_through(tuple(rest), passed))
            else:
                self._end.send(message)

    def receive(self, message: AnyMessage) -> None:
        """Answer a message from a client; ``end`` calls this for each one that arrives."""
        self.received.append(message)
        if message.channel is ChannelName.STDIN:
            self._on_input(message)
        elif message.channel in REQUEST_CHANNELS and message.header.msg_type.endswith("_request"):
            self._requests.append(message)
            self._answer_requests()

    def _answer_requests(self) -> None:
        while self._requests and self._waiting_for_input is None:
            request = self._requests.popleft()
            self.send(build.status("busy", parent=request))
            try:
                script = iter(self._handler(request))
            except Exception as error:
                self._send_error(request, error)
                self.send(build.status("idle", parent=request))
            else:
                self._run(request, script, None)

    def _on_input(self, reply: AnyMessage) -> None:
        waiting, self._waiting_for_input = self._waiting_for_input, None
        if waiting is not None:
            request, script = waiting
            self._run(request, script, reply)
            self._answer_requests()

    def _run(
        self, request: AnyMessage, script: Iterator[AnyMessage], reply: AnyMessage | None
    ) -> None:
        while True:
            try:
                if reply is None:
                    message = next(script)
                else:
                    message = cast("Generator[AnyMessage, AnyMessage]", script).send(reply)
            except StopIteration:
                break
            except Exception as error:
                self._send_error(request, error)
                break
            reply = None
            asks = message.header.msg_type == "input_request" and isinstance(script, Generator)
            if asks:
                # Before it is sent: the reply may arrive while it is.
                generator = cast("Generator[AnyMessage, AnyMessage, None]", script)
                self._waiting_for_input = request, generator
            has_parent = bool(message.parent_header)
            self.send(message if has_parent else message.replace(parent_header=request.header))
            if asks:
                return
        self.send(build.status("idle", parent=request))

    def _send_error(self, request: AnyMessage, error: Exception) -> None:
        details = {"ename": type(error).__name__, "evalue": str(error), "traceback": []}
        if request.header.msg_type == "execute_request":
            self.send(ec.create_message("error", details, channel="iopub", parent=request))
        kind = request.header.msg_type.removesuffix("_request") + "_reply"
        content = {"status": "error", **details}
        self.send(ec.create_message(kind, content, channel=request.channel, parent=request))
