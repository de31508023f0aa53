"""Blocking calls on threads of the library, where the collector may run finalizers of users."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

import enchannel as ec
from enchannel._kernel.connection import Phase
from enchannel._kernel.kernel import parts_of
from enchannel._rx.timer import timer
from enchannel.abc import Link
from enchannel.backends import EventLoopThread, launch_link, open_link
from enchannel.memory import InMemoryKernel
from enchannel.testing import Collector, FakeKernel
from tests.rigs import DEADLINE
from tests.rigs.scripted import ScriptedLink

Run = Callable[[Callable[[], object]], object]


def outcome_on(post: Callable[[Callable[[], None]], object], call: Callable[[], object]) -> object:
    """Make a call on another thread; return its result or its exception."""
    outcomes: list[object] = []
    done = threading.Event()

    def run() -> None:
        try:
            outcomes.append(call())
        except BaseException as error:
            outcomes.append(error)
        done.set()

    post(run)
    assert done.wait(DEADLINE)
    return outcomes[0]


@pytest.fixture(params=["timer", "event loop"])
def on_library_thread(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Return a function that makes a call on a thread that all kernels share."""
    if request.param == "timer":
        yield lambda call: outcome_on(lambda run: timer().schedule(lambda *_: run()), call)
        return
    loop = EventLoopThread("enchannel-test I/O")
    loop.start()
    yield lambda call: outcome_on(loop.call, call)
    loop.stop(wait=True)


@pytest.fixture
def end() -> Iterator[InMemoryKernel]:
    with InMemoryKernel() as end:
        FakeKernel(end)
        yield end


def test_blocking_calls_are_refused(on_library_thread: Run, end: InMemoryKernel) -> None:
    with ec.connect(end.target) as kernel:
        calls: list[Callable[[], object]] = [
            lambda: kernel.run("1"),
            lambda: ec.wait(kernel.kernel_info()),
            lambda: kernel.subshell().__enter__(),
            lambda: ec.connect(end.target).__enter__(),
            lambda: open_link(end.target),
            launch_link,
            ec.list_kernels,
            ec.list_kernelspecs,
        ]
        for call in calls:
            assert isinstance(on_library_thread(call), ec.WouldDeadlock)
        assert kernel.run("woo").text == "woo"


@pytest.mark.parametrize("name", ["close", "detach"])
def test_close_continues_elsewhere(on_library_thread: Run, end: InMemoryKernel, name: str) -> None:
    ended = Collector[ec.LinkState]()
    kernel = ec.connect(end.target)
    kernel.link_state.subscribe(ended)
    assert on_library_thread(getattr(kernel, name)) is None
    ended.wait_for_end()
    kernel.close()
    assert parts_of(kernel).connection.phase is Phase.CLOSED


def test_close_within_close_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler or a finalizer may close a kernel that its thread is closing."""
    monkeypatch.setattr("enchannel._kernel.connection.CLOSE_TIMEOUT", threading.TIMEOUT_MAX)
    remote = ScriptedLink()
    link = remote.link

    def close() -> None:
        kernel.close()
        link.close()

    remote.link = replace(link, close=close)
    with remote.kernel() as kernel:
        pass
    assert remote.closed == 1


def test_open_within_open_is_refused() -> None:
    remote = ScriptedLink()

    def open_link() -> Link:
        with pytest.raises(ec.WouldDeadlock, match="the same thread is opening"):
            kernel.__enter__()
        return remote.link

    kernel = ec.Kernel(open_link, ec.Session(), scheduler=remote.clock)
    with kernel:
        assert kernel.link_state.value is ec.LinkState.CONNECTED
