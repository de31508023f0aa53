"""A kernel as a function from request to replies, on any transport."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Protocol, TypeAlias, cast

import enchannel as ec
from enchannel import AnyMessage, ChannelName, Session
from enchannel import messages as build

__all__ = ["RequestHandler", "FakeKernel", "KernelEnd", "Fault", "Send", "echo"]

RequestHandler: TypeAlias = Callable[[AnyMessage], Iterable[AnyMessage]]
"""From a request to what is said to it: outputs, then the reply. A generator that yields an
``input_request`` is sent the ``input_reply``; of anything else, the answer is not waited for."""

Send: TypeAlias = Callable[[AnyMessage], None]
Fault: TypeAlias = Callable[[AnyMessage, Send], None]
"""What becomes of a message on its way out: it is passed on with the function that it comes with; or not,
or twice, or later, or changed."""

REQUESTED = (ChannelName.SHELL, ChannelName.CONTROL)


class KernelEnd(Protocol):
    """A far end, as ``MemoryRig``, ``enchannel.memory.InMemoryKernel`` and every ``Rig`` are."""

    def on_message(self, callback: Callable[[AnyMessage], None], /) -> None: ...
    def send(self, message: AnyMessage, /) -> None: ...


def echo(request: AnyMessage) -> Iterator[AnyMessage]:
    """Prints the code that it is given, and answers everything else with no more than ``ok``."""
    kind = request.header.msg_type
    if kind == "execute_request":
        yield build.stream("stdout", request.content["code"])
        yield build.execute_reply(1, parent=request)
    elif kind == "kernel_info_request":
        language = {"name": "echo", "version": "1", "file_extension": ".txt"}
        yield build.kernel_info_reply(
            implementation="fake",
            implementation_version="1",
            language_info=language,  # type: ignore[arg-type]  # what is NotRequired is left out
            parent=request,
            channel=request.channel,
        )
    else:
        reply = kind.removesuffix("_request") + "_reply"
        yield ec.create_message(reply, {"status": "ok"}, channel=request.channel)


class FakeKernel:
    """Answers what is asked, one request after the other, on the thread that brings it.

    Busy and idle are said around each answer, and what has no parent gets the request as its parent. What
    the function raises is said as a kernel says what code raises.

    Args:
        end: Where it sits.
        handler: What it does about a request.

    Attributes:
        received: What clients said, in order.
        session: Whose its own messages are.
    """

    def __init__(self, end: KernelEnd, handler: RequestHandler = echo) -> None:
        self.received: list[AnyMessage] = []
        self.session: Session = Session(username="kernel")
        self._end = end
        self._handler = handler
        self._faults: tuple[Fault, ...] = ()
        self._asking: tuple[AnyMessage, Generator[AnyMessage, AnyMessage, None]] | None = None
        self._waiting: deque[AnyMessage] = deque()
        self._saying = threading.RLock()
        end.on_message(self._hear)

    def send(self, *messages: AnyMessage) -> None:
        """Send something that nobody asked for, or more to a request; through the faults."""
        for message in messages:
            self._through(self._faults, self.session.fill_headers(message))

    def inject_faults(self, *faults: Fault) -> None:
        """From now on, do wrong what the faults do wrong; what is said goes through one after the other."""
        self._faults = faults

    def clear_faults(self) -> None:
        """From now on, do right."""
        self._faults = ()

    def _through(self, faults: tuple[Fault, ...], message: AnyMessage) -> None:
        with self._saying:
            if faults:
                first, *rest = faults
                first(message, lambda passed: self._through(tuple(rest), passed))
            else:
                self._end.send(message)

    def _hear(self, message: AnyMessage) -> None:
        self.received.append(message)
        if message.channel is ChannelName.STDIN:
            self._answered(message)
        elif message.channel in REQUESTED and message.header.msg_type.endswith("_request"):
            self._waiting.append(message)
            self._take_turns()

    def _take_turns(self) -> None:
        while self._waiting and self._asking is None:
            request = self._waiting.popleft()
            self.send(build.status("busy", parent=request))
            try:
                script = iter(self._handler(request))
            except Exception as error:  # the function's own: as code that raises
                self._raised(request, error)
                self.send(build.status("idle", parent=request))
            else:
                self._go_on(request, script, None)

    def _answered(self, reply: AnyMessage) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            request, script = asking
            self._go_on(request, script, reply)
            self._take_turns()

    def _go_on(
        self, request: AnyMessage, script: Iterator[AnyMessage], reply: AnyMessage | None
    ) -> None:
        while True:
            try:
                if reply is None:
                    said = next(script)
                else:
                    said = cast("Generator[AnyMessage, AnyMessage]", script).send(reply)
            except StopIteration:
                break
            except Exception as error:  # the function's own: as code that raises
                self._raised(request, error)
                break
            reply = None
            asks = said.header.msg_type == "input_request" and isinstance(script, Generator)
            if asks:  # before it is said: the answer may come while it is
                self._asking = request, cast("Generator[AnyMessage, AnyMessage, None]", script)
            self.send(said if said.parent_header else said.replace(parent_header=request.header))
            if asks:
                return
        self.send(build.status("idle", parent=request))

    def _raised(self, request: AnyMessage, error: Exception) -> None:
        told = {"ename": type(error).__name__, "evalue": str(error), "traceback": []}
        if request.header.msg_type == "execute_request":
            self.send(ec.create_message("error", told, channel="iopub", parent=request))
        kind = request.header.msg_type.removesuffix("_request") + "_reply"
        content = {"status": "error", **told}
        self.send(ec.create_message(kind, content, channel=request.channel, parent=request))
