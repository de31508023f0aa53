"""list_kernels(), list_kernelspecs() and connect(id, at=…), with the backend of somebody else."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from typing import Any, ClassVar

import pytest

import enchannel as ec
import enchannel_zmq
from enchannel import memory
from enchannel._kernel import backend_lookup
from enchannel.abc import Link, Lister, OpenContext
from enchannel.backends import find_kernel
from tests.enchannel.test_connect import EntryPoint
from tests.rigs import DEADLINE
from tests.rigs.scripted import ScriptedBackend
from tests.rigs.threads import run_on_loop

AT = "tcp://there"
IDS = ("ada-1", "ada-2", "bob", "bobby")


class TcpBackend(Lister):
    """Kernels on one server, which are those of this process.

    Attributes:
        contexts: The contexts of all calls.
        threads: The names of the threads of all calls.
    """

    contract: ClassVar[int] = 1

    def __init__(self) -> None:
        self.contexts: list[OpenContext] = []
        self.threads: list[str] = []

    def open(self, target: Any, context: OpenContext, *, token: str = "", size: int = 1) -> Link:
        self._note(context)
        if context.at is not None:
            target = find_kernel(self._models(), target, context.at).target
        return memory.backend.open(
            target.replace("tcp://there/", "memory:"), replace(context, at=None)
        )

    def list_kernels(self, context: OpenContext, *, token: str = "") -> tuple[ec.KernelModel, ...]:
        self._note(context)
        return self._models()

    def list_kernelspecs(
        self, context: OpenContext, *, token: str = ""
    ) -> tuple[ec.KernelspecModel, ...]:
        self._note(context)
        return (ec.KernelspecModel(name="python3", language=token),)

    def _note(self, context: OpenContext) -> None:
        self.contexts.append(context)
        self.threads.append(threading.current_thread().name)

    def _models(self) -> tuple[ec.KernelModel, ...]:
        return tuple(ec.KernelModel(id=id, state="idle", target=f"{AT}/{id}") for id in IDS)


@pytest.fixture(autouse=True)
def kernels() -> Iterator[None]:
    kernels = [memory.InMemoryKernel(id=id) for id in IDS]
    yield
    for kernel in kernels:
        kernel.close()


@pytest.fixture
def tcp(monkeypatch: pytest.MonkeyPatch) -> TcpBackend:
    """Install the backend for ``tcp://``, and one that cannot list kernels for ``plain://``."""
    tcp, plain = TcpBackend(), ScriptedBackend()
    found = [EntryPoint("tcp", lambda: tcp), EntryPoint("plain", lambda: plain)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: found)
    monkeypatch.setattr(backend_lookup, "_loaded", {})
    return tcp


# Listing.


def test_kernels_are_listed_by_backend_of_url(tcp: TcpBackend) -> None:
    models = ec.list_kernels(AT, timeout=3, token="x")
    assert [model.id for model in models] == list(IDS)
    (context,) = tcp.contexts
    assert (context.at, context.timeout) == (AT, 3)


def test_kernelspecs_are_listed_by_backend_of_url(tcp: TcpBackend) -> None:
    (spec,) = ec.list_kernelspecs(AT, token="x")
    assert spec == ec.KernelspecModel(name="python3", language="x")
    assert tcp.contexts[0].at == AT


@pytest.mark.parametrize("listing", [ec.list_kernels, ec.list_kernelspecs])
def test_listing_uses_given_backend(tcp: TcpBackend, listing: Any) -> None:
    assert listing(backend=tcp)
    assert listing(backend="tcp")
    assert [context.at for context in tcp.contexts] == [None, None]


@pytest.mark.parametrize("listing", [ec.list_kernels, ec.list_kernelspecs])
def test_listing_names_known_options(tcp: TcpBackend, listing: Any) -> None:
    with pytest.raises(
        TypeError, match="unknown option 'size' for the backend 'tcp'; options: token$"
    ):
        listing(AT, size=3)
    assert tcp.contexts == []


@pytest.mark.parametrize("listing", [ec.list_kernels, ec.list_kernelspecs])
def test_listing_needs_lister(tcp: TcpBackend, listing: Any) -> None:
    with pytest.raises(ec.NotSupported, match="the backend 'plain' cannot list kernels"):
        listing("plain://there")
    with pytest.raises(ec.BackendNotFound, match="no backend 'http'"):
        listing("http://there")
    with pytest.raises(ValueError, match="at must be a server URL"):
        listing("there")
    with pytest.raises(ValueError, match="timeout must be"):
        listing(AT, timeout=-1)


def test_listing_is_refused_on_loop(tcp: TcpBackend) -> None:
    async def main() -> None:
        with pytest.raises(ec.WouldDeadlock, match="await enchannel.alist_kernels"):
            ec.list_kernels(AT)
        with pytest.raises(ec.WouldDeadlock, match="await enchannel.alist_kernelspecs"):
            ec.list_kernelspecs(AT)

    run_on_loop(main)
    assert tcp.contexts == []


def test_async_listing_calls_backend_in_thread(tcp: TcpBackend) -> None:
    async def main() -> tuple[int, str]:
        models = await ec.alist_kernels(AT, token="x")
        (spec,) = await ec.alist_kernelspecs(AT, token="x")
        with pytest.raises(TypeError, match="size"):
            await ec.alist_kernels(AT, size=3)
        with pytest.raises(ec.NotSupported):
            await ec.alist_kernelspecs("plain://there")
        return len(models), spec.language

    assert run_on_loop(main) == (4, "x")
    assert threading.current_thread().name not in tcp.threads


# Connecting by id.


@pytest.mark.parametrize(("beginning", "found"), [("ada-2", "ada-2"), ("bobb", "bobby")])
def test_connect_at_finds_beginning_of_id(tcp: TcpBackend, beginning: str, found: str) -> None:
    with ec.connect(beginning, at=AT, token="x", size=2) as kernel:
        assert kernel.id == found
    assert [context.at for context in tcp.contexts] == [AT]


def test_connect_at_prefers_whole_id(tcp: TcpBackend) -> None:
    with ec.connect("bob", at=AT) as kernel:
        assert kernel.id == "bob"


def test_connect_at_refuses_ambiguous_id(tcp: TcpBackend) -> None:
    with pytest.raises(ec.ConnectionFailed, match="'ada' matches several kernels.*: ada-1, ada-2$"):
        ec.connect("ada", at=AT)
    with pytest.raises(
        ec.ConnectionFailed, match="no kernel on tcp://there matches 'eve'; running kernels: ada-1"
    ):
        ec.connect("eve", at=AT)


def test_connect_at_on_loop(tcp: TcpBackend) -> None:
    async def main() -> str:
        async with ec.connect("bobb", at=AT) as kernel:
            return kernel.id

    assert run_on_loop(main) == "bobby"


def test_connect_at_needs_lister(tcp: TcpBackend) -> None:
    with pytest.raises(ec.NotSupported, match="'plain' cannot find kernels by their id"):
        ec.connect("ada", at="plain://there")


@pytest.mark.parametrize("target", ["", "tcp://there/bob"])
def test_connect_at_needs_id(tcp: TcpBackend, target: str) -> None:
    with pytest.raises(ValueError, match="target must be the id of a kernel"):
        ec.connect(target, at=AT)


@pytest.mark.parametrize("target", [3, {"ip": "127.0.0.1"}])
def test_connect_at_needs_text(tcp: TcpBackend, target: Any) -> None:
    with pytest.raises(TypeError, match="target must be the id of a kernel"):
        ec.connect(target, at=AT)


def test_connect_at_hides_token(tcp: TcpBackend) -> None:
    for target in ("eve", "https://there/?token=hidden-word"):
        with pytest.raises((ec.ConnectionFailed, ValueError)) as failed:
            ec.connect(target, at=f"{AT}?token=hidden-word")
        assert "hidden-word" not in str(failed.value)


# Kernels of this process and of this machine.


@pytest.mark.parametrize("backend", ["memory", memory.backend, enchannel_zmq.backend])
def test_at_is_refused_without_servers(backend: Any) -> None:
    at = "memory://there?token=hidden-word"
    calls: list[Callable[[], object]] = [
        lambda: ec.list_kernels(at, backend=backend),
        lambda: ec.list_kernelspecs(at, backend=backend),
        lambda: ec.connect("bob", at=at, backend=backend),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="at must be None") as refused:
            call()
        assert "hidden-word" not in str(refused.value)


def test_memory_kernels_are_listed() -> None:
    models = {model.id: model for model in ec.list_kernels(backend="memory")}
    assert set(IDS) <= set(models)
    with ec.connect(models["bob"].target, timeout=DEADLINE) as kernel:
        assert (kernel.id, models["bob"].state) == ("bob", "idle")
        assert kernel.position is None
    assert ec.list_kernelspecs(backend="memory") == ()
