"""Calls in event loops and patched processes that are not supported."""

import asyncio
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import enchannel as ec
from enchannel.backends import launch_link, open_link
from tests.rigs.scripted import ScriptedBackend, ScriptedLink

CALLS: dict[str, Callable[[ScriptedBackend], object]] = {
    "connect()": lambda backend: ec.connect("ada", backend=backend),
    "launch()": lambda backend: ec.launch(backend=backend),
    "open_link()": lambda backend: open_link("ada", backend=backend),
    "launch_link()": lambda backend: launch_link(backend=backend),
}


class Trio:
    """The functions of trio.lowlevel that are used."""

    def __init__(self, in_task: bool) -> None:
        self._in_task = in_task

    def current_task(self) -> object:
        if not self._in_task:
            raise RuntimeError("must be called from async context")
        return object()


@pytest.fixture
def backend() -> ScriptedBackend:
    backend = ScriptedBackend()
    backend.kernels["ada"] = ScriptedLink(id="ada")
    return backend


@pytest.mark.parametrize("call", CALLS)
def test_trio_task_is_refused(
    monkeypatch: pytest.MonkeyPatch, backend: ScriptedBackend, call: str
) -> None:
    monkeypatch.setitem(sys.modules, "trio.lowlevel", Trio(in_task=True))
    with pytest.raises(ec.NotSupported, match="does not support trio's event loop") as raised:
        CALLS[call](backend)
    assert str(raised.value).startswith(call)
    assert backend.opened == []


def test_thread_beside_trio_is_supported(
    monkeypatch: pytest.MonkeyPatch, backend: ScriptedBackend
) -> None:
    monkeypatch.setitem(sys.modules, "trio.lowlevel", Trio(in_task=False))
    ec.connect("ada", backend=backend).close()


def test_asyncio_loop_in_trio_is_supported(
    monkeypatch: pytest.MonkeyPatch, backend: ScriptedBackend
) -> None:
    monkeypatch.setitem(sys.modules, "trio.lowlevel", Trio(in_task=True))

    async def main() -> None:
        async with ec.connect("ada", backend=backend):
            pass

    asyncio.run(main())


@pytest.mark.parametrize("module", ["threading", "select", "selectors"])
@pytest.mark.parametrize("call", CALLS)
def test_gevent_patch_is_refused(
    monkeypatch: pytest.MonkeyPatch, backend: ScriptedBackend, call: str, module: str
) -> None:
    patched: Any = SimpleNamespace(is_module_patched=lambda name: name == module)
    monkeypatch.setitem(sys.modules, "gevent.monkey", patched)
    with pytest.raises(ec.NotSupported, match="gevent has patched threads or selectors"):
        CALLS[call](backend)
    assert backend.opened == []


def test_gevent_without_such_patch_is_supported(
    monkeypatch: pytest.MonkeyPatch, backend: ScriptedBackend
) -> None:
    patched: Any = SimpleNamespace(is_module_patched=lambda name: name == "socket")
    monkeypatch.setitem(sys.modules, "gevent.monkey", patched)
    ec.connect("ada", backend=backend).close()
