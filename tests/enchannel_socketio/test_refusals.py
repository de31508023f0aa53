"""Messages that a relay does not forward to the kernel: each fails its request, and no other one."""

import asyncio
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

import pytest
from reactivex import operators as ops

import enchannel as ec
from enchannel import AnyMessage, KernelState, LinkState
from enchannel import messages as build
from enchannel.abc import Capabilities, LinkEvent
from enchannel.errors import (
    ConnectionLost,
    EnchannelError,
    InvalidMessage,
    KernelDied,
    MessageNotForwarded,
)
from enchannel.memory import InMemoryKernel
from enchannel.testing import FakeKernel
from enchannel_socketio import connect
from enchannel_socketio.relay import MemoryStore
from enchannel_socketio.relay._kernels import LocalKernel
from enchannel_socketio.relay._log import Bounds, Entry, Log, MemoryLog
from tests.enchannel_socketio.conftest import Running, running, sharing
from tests.rigs import DEADLINE, eventually
from tests.rigs.proxy import Proxy
from tests.rigs.relay import TOKEN


def failure_of(kernel: ec.Kernel, code: str = "1") -> SimpleQueue[Exception]:
    """Execute code; return a queue that receives the error, or ValueError if there was none."""
    ended: SimpleQueue[Exception] = SimpleQueue()
    kernel.execute(code).subscribe(
        on_error=ended.put, on_completed=lambda: ended.put(ValueError("it was answered"))
    )
    return ended


def errors_of(kernel: ec.Kernel) -> SimpleQueue[EnchannelError]:
    reported: SimpleQueue[EnchannelError] = SimpleQueue()
    kernel.errors.subscribe(reported.put)
    return reported


def refused_messages(
    monkeypatch: pytest.MonkeyPatch, then: Callable[[], None] = lambda: None
) -> SimpleQueue[AnyMessage]:
    """Return a queue of the messages that a relay's link refuses; call a function on the relay's loop."""
    send, refused = LocalKernel.send, SimpleQueue[AnyMessage]()

    async def observed(self: LocalKernel, message: AnyMessage) -> None:
        try:
            await send(self, message)
        except KernelDied:
            refused.put(message)
            then()
            raise

    monkeypatch.setattr(LocalKernel, "send", observed)
    return refused


class LateEvents(InMemoryKernel):
    """A kernel whose links report its end later than messages to it are refused.

    Attributes:
        received: The messages from clients.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.received: SimpleQueue[AnyMessage] = SimpleQueue()
        self._held: list[LinkEvent] = []
        self.on_message(self.received.put)

    def wait_for_execution(self) -> None:
        while self.received.get(timeout=DEADLINE).msg_type != "execute_request":
            pass

    def emit_event(self, *events: LinkEvent) -> None:
        self._held += events

    def release(self) -> None:
        held, self._held = self._held, []
        super().emit_event(*held)


@pytest.mark.parametrize(
    ("end", "kind", "text"),
    [
        ("die", KernelDied, "kernel {} died"),
        ("disconnect", ConnectionLost, "the connection to kernel {} was lost"),
    ],
)
def test_refused_request_fails_as_end_does(
    relay: Running, end: str, kind: type[Exception], text: str
) -> None:
    with (
        LateEvents(id="kernel") as remote,
        sharing(relay, remote.target) as kernel_id,
        connect(relay.url, kernel_id, token=TOKEN) as kernel,
    ):
        reported = errors_of(kernel)
        earlier = failure_of(kernel)
        remote.wait_for_execution()
        getattr(remote, end)()
        refused = failure_of(kernel).get(timeout=DEADLINE)
        assert (type(refused), str(refused)) == (kind, text.format(kernel_id))
        assert earlier.empty(), repr(earlier.get())
        assert kernel.link_state.value is LinkState.CONNECTED
        remote.release()
        ended = earlier.get(timeout=DEADLINE)
        assert (type(ended), str(ended)) == (kind, text.format(kernel_id))
        assert str(reported.get(timeout=DEADLINE)) == text.format(kernel_id)
        assert reported.empty()


def is_idle(state: KernelState) -> bool:
    return state is KernelState.IDLE


def test_request_refused_after_end_is_not_reported(
    relay: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refused_messages(monkeypatch)
    with (
        InMemoryKernel(id="kernel") as remote,
        sharing(relay, remote.target) as kernel_id,
        Proxy(int(relay.url.rpartition(":")[2])) as proxy,
        connect(f"http://127.0.0.1:{proxy.port}", kernel_id, token=TOKEN) as kernel,
    ):
        reported = errors_of(kernel)
        proxy.pause()
        failed = failure_of(kernel)
        remote.die()
        assert str(failed.get(timeout=DEADLINE)) == f"kernel {kernel_id} died"
        proxy.resume()
        refused.get(timeout=DEADLINE)
        remote.reconnect()
        ec.wait(kernel.state.pipe(ops.filter(is_idle), ops.take(1)), timeout=DEADLINE)
        assert str(reported.get(timeout=DEADLINE)) == f"kernel {kernel_id} died"
        assert reported.empty()


class GatedLog(MemoryLog):
    """A log whose entries are written once it is open."""

    def __init__(self) -> None:
        super().__init__(Bounds())
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def shut(self) -> None:
        self.is_open.clear()

    async def append(self, entries: Sequence[Entry]) -> None:
        await self.is_open.wait()
        await super().append(entries)


class GatedStore(MemoryStore):
    """A store of one log."""

    log: GatedLog

    async def create_log(self, kernel_id: str) -> Log:
        self.log = GatedLog()
        return self.log


def test_refusal_does_not_overtake_output(monkeypatch: pytest.MonkeyPatch) -> None:
    store = GatedStore()
    refused_messages(monkeypatch, lambda: store.log.is_open.set())
    with (
        running(store=store) as relay,
        InMemoryKernel() as remote,
        sharing(relay, remote.target) as kernel_id,
        connect(relay.url, kernel_id, token=TOKEN) as kernel,
    ):
        answering = FakeKernel(remote)
        relay.server.call(store.log.shut())
        earlier: SimpleQueue[object] = SimpleQueue()
        execution = kernel.execute("6 * 7").pipe(ec.of_message_type("stream"))
        execution.subscribe(lambda message: earlier.put(message.content["text"]), earlier.put)
        assert eventually(
            lambda: "execute_request" in {message.msg_type for message in answering.received}
        )
        # The kernel answers on the thread of the relay's loop.
        relay.server.call(asyncio.sleep(0))
        remote.die()
        refused = failure_of(kernel)
        received = [str(earlier.get(timeout=DEADLINE)) for _ in range(2)]
        assert received == ["6 * 7", f"kernel {kernel_id} died"]
        assert str(refused.get(timeout=DEADLINE)) == f"kernel {kernel_id} died"


def test_refused_message_fails_no_other_request(relay: Running) -> None:
    with (
        InMemoryKernel(capabilities=Capabilities(buffers=False, can_resume=True)) as remote,
        sharing(relay, remote.target) as kernel_id,
        connect(relay.url, kernel_id, token=TOKEN) as kernel,
    ):
        received: SimpleQueue[AnyMessage] = SimpleQueue()
        remote.on_message(received.put)
        reported = errors_of(kernel)
        running_request = failure_of(kernel)
        received.get(timeout=DEADLINE)
        rejected = build.execute_request("1").replace(buffers=[b"x"])
        with pytest.raises(InvalidMessage, match="the relay rejected the message: .* buffers"):
            ec.wait(kernel.request(rejected), timeout=DEADLINE)
        assert reported.empty()
        kernel.shell.on_next(rejected)
        error = reported.get(timeout=DEADLINE)
        assert isinstance(error, MessageNotForwarded)
        assert (error.msg_id, type(error.reason)) == (rejected.header.msg_id, InvalidMessage)
        assert running_request.empty()


def test_request_at_shutdown_fails_with_it(relay: Running) -> None:
    """The relay has begun to close its link, and the client has not received the end yet."""
    with (
        InMemoryKernel(id="kernel") as remote,
        sharing(relay, remote.target) as kernel_id,
        connect(relay.url, kernel_id, token=TOKEN) as kernel,
    ):
        local = relay.server.call(relay.relay._directory.find(kernel_id))
        relay.server.call(local.shut_down())
        failed = failure_of(kernel).get(timeout=DEADLINE)
        assert (type(failed), str(failed)) == (KernelDied, f"kernel {kernel_id} was shut down")
