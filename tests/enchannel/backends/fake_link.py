"""A ``ReconnectingLink`` over a transport that the test scripts."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from reactivex import operators as ops

from enchannel import AnyMessage, ChannelName, execute_request
from enchannel.abc import LinkEvent
from enchannel.backends import (
    ConnectionLoss,
    EventLoopThread,
    Lease,
    LinkPhase,
    ReconnectingLink,
    SharedResource,
)
from enchannel.errors import ConnectionLost, InvalidMessage
from enchannel.testing import Collector

__all__ = ["HANGS", "FakeLink", "fake_link"]

HANGS = "hangs"
"""The outcome of an attempt to connect that takes for ever."""

loops = SharedResource(lambda: EventLoopThread("enchannel-test link"))


class FakeLink(ReconnectingLink[str]):
    """A link whose frames are the code of execute requests.

    Args:
        lease: Keeps the event loop running.
        outcomes: Results of the first attempts to connect: an exception, ``HANGS``, or None for success.
        reconnect_timeout: Seconds.

    Attributes:
        attempts: The phase of the link at each attempt to connect.
        sent: The frames that were sent.
        calls: Other methods that were called.
        can_send: Cleared while the transport does not accept frames.
        on_event: Called with each event, on the event loop.
    """

    def __init__(
        self,
        lease: Lease[EventLoopThread],
        outcomes: Iterable[Exception | str | None] = (),
        *,
        reconnect_timeout: float = 30.0,
    ) -> None:
        super().__init__(
            "k-1",
            "fake://server",
            frozenset({ChannelName.SHELL, ChannelName.IOPUB}),
            lease,
            reconnect_timeout=reconnect_timeout,
            log=logging.getLogger("enchannel.test"),
        )
        self.outcomes = iter(outcomes)
        self.attempts: list[LinkPhase] = []
        self.sent: Collector[str] = Collector()
        self.calls: list[str] = []
        self.can_send = asyncio.Event()
        self.can_send.set()
        self.lost: asyncio.Future[ConnectionLoss] | None = None
        self.thread = lease.resource
        self.on_event: Callable[[LinkEvent], None] = lambda event: None

        def call(event: LinkEvent) -> None:
            self.on_event(event)

        self.received: Collector[LinkEvent] = Collector(self.events.pipe(ops.do_action(call)))

    def encode(self, message: AnyMessage) -> str:
        code = str(message.content["code"])
        if code == "invalid":
            raise InvalidMessage("code must not be 'invalid'")
        return code

    async def connect(self) -> None:
        self.attempts.append(self.phase)
        outcome = next(self.outcomes, None)
        if outcome is HANGS:
            await asyncio.Event().wait()
        if isinstance(outcome, Exception):
            raise outcome
        self.lost = asyncio.get_running_loop().create_future()

    async def disconnect(self) -> None:
        self.calls.append("disconnect")

    async def wait_until_lost(self) -> ConnectionLoss:
        assert self.lost is not None
        return await self.lost

    async def send(self, frame: str) -> None:
        await self.can_send.wait()
        if frame == "breaks":
            raise ConnectionLost("broke while sending")
        self.sent.on_next(frame)

    async def flush(self) -> None:
        self.calls.append("flush")

    async def close_client(self) -> None:
        self.calls.append("close_client")

    def on_connected(self, *, is_first: bool) -> None:
        self.calls.append(f"on_connected(is_first={is_first})")

    def on_reconnected(self, loss: ConnectionLost) -> None:
        self.calls.append(f"on_reconnected({loss})")

    # -- from the test's thread -------------------------------------------------------------------

    def push(self, code: str) -> None:
        """Send an execute request on shell."""
        self.pairs()[ChannelName.SHELL].outgoing.on_next(execute_request(code))

    def unsent(self) -> int:
        return self.pairs()[ChannelName.SHELL].unsent()

    def break_connection(self, why: str = "it broke", *, is_rejection: bool = False) -> None:
        def lose() -> None:
            assert self.lost is not None
            if not self.lost.done():
                self.lost.set_result(ConnectionLoss(ConnectionLost(why), is_rejection))

        self.thread.call(lose)

    def let_send(self, can_send: bool) -> None:
        self.do(self.can_send.set if can_send else self.can_send.clear)

    def do(self, function: Callable[[], object]) -> None:
        """Call a function on the event loop and wait for it."""

        async def call() -> None:
            function()

        self.thread.run(call())


@contextmanager
def fake_link(
    *outcomes: Exception | str | None, reconnect_timeout: float = 30.0, deferred: bool = False
) -> Iterator[FakeLink]:
    """Open or defer a fake link, and close it in the end."""
    lease = loops.lease()
    link = FakeLink(lease, outcomes, reconnect_timeout=reconnect_timeout)
    try:
        if deferred:
            link.defer()
        lease.resource.run(link.open())
        yield link
    finally:
        link.close()
