"""Blocking calls: each refuses on a running event loop and names its asynchronous twin."""

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import reactivex

import enchannel as ec
from enchannel import Kernel, WouldDeadlock
from enchannel._kernel.kernel import parts_of
from tests.exports import PACKAGES
from tests.rigs.scripted import ScriptedLifecycle, ScriptedLink
from tests.rigs.threads import run_on_loop

DESIGN = Path(__file__).parents[2] / "docs" / "design.md"
TABLE_HEADER = "| blocks | on an event loop |"


def enter(manager: AbstractContextManager[Any]) -> None:
    with manager:
        raise AssertionError


BLOCKING: dict[str, tuple[Callable[[Kernel, Path], object], str]] = {
    "wait": (lambda kernel, path: ec.wait(reactivex.never()), "await enchannel.last_value(…)"),
    "list_kernels": (lambda kernel, path: ec.list_kernels(), "await enchannel.alist_kernels(…)"),
    "list_kernelspecs": (
        lambda kernel, path: ec.list_kernelspecs(),
        "await enchannel.alist_kernelspecs(…)",
    ),
    "Requests.run": (lambda kernel, path: kernel.run("1"), "await kernel.arun(…)"),
    "Kernel.close": (lambda kernel, path: kernel.close(), "await kernel.aclose()"),
    "Kernel.detach": (lambda kernel, path: kernel.detach(), "await kernel.adetach()"),
    "Kernel.__enter__": (lambda kernel, path: enter(kernel), "async with"),
    "Subshell.__enter__": (lambda kernel, path: enter(kernel.subshell()), "async with"),
    "Recorder.close": (
        lambda kernel, path: ec.record(kernel, path).close(),
        "await recorder.aclose()",
    ),
    "Recorder.__enter__": (lambda kernel, path: enter(ec.record(kernel, path)), "async with"),
}
COMPATIBLE = {"spawn", "shutdown", "disconnect", "list_kernels", "list_kernelspecs"}
"""The calls of ``enchannel_socketio`` with the names of nteract's package, which have no twin there."""


@pytest.mark.parametrize("name", BLOCKING)
def test_blocking_call_on_loop_names_twin(name: str, tmp_path: Path) -> None:
    call, twin = BLOCKING[name]

    async def main() -> None:
        async with ScriptedLink().kernel() as kernel:
            with pytest.raises(WouldDeadlock, match=re.escape(twin)):
                call(kernel, tmp_path / "recording")
            assert kernel.link_state.value is ec.LinkState.CONNECTED

    run_on_loop(main)


def test_blocking_new_kernel_on_loop_is_refused() -> None:
    async def main() -> None:
        kernel = ScriptedLink().kernel()
        with pytest.raises(WouldDeadlock, match="async with"):
            enter(kernel)
        assert parts_of(kernel).connection.link is None

    run_on_loop(main)


def test_remedies_of_unopened_kernel_work() -> None:
    """Follow the texts of the errors on an event loop."""

    async def main() -> None:
        kernel = ScriptedLink().kernel()
        with pytest.raises(WouldDeadlock, match=r"`kernel = await .*`await kernel\.aclose\(\)`"):
            enter(kernel)
        with pytest.raises(ec.NotConnected, match=r"`kernel = await ec\.launch\(…\)`"):
            await kernel.arun("1")
        kernel = await kernel
        await kernel.aclose()
        assert kernel.link_state.value is ec.LinkState.CLOSED

    run_on_loop(main)


def test_reactivex_run_on_loop_names_twin() -> None:
    async def main() -> None:
        async with ScriptedLink().kernel() as kernel:
            with pytest.raises(WouldDeadlock, match=r"await enchannel\.last_value"):
                kernel.execute("1").run()

    run_on_loop(main)


def test_blocking_calls_are_all_listed() -> None:
    assert set(refusing_functions("enchannel")) == set(BLOCKING)
    socketio = pytest.importorskip("enchannel_socketio")
    assert set(refusing_functions("enchannel_socketio")) == COMPATIBLE <= set(socketio.__all__)
    assert set(refusing_functions("enchannel_zmq")) == {"_connect"}


def test_blocking_calls_and_coroutines_are_pairs() -> None:
    pairs = set[str]()
    for owner, name, twin in coroutines_with_twin():
        assert inspect.iscoroutinefunction(getattr(owner, f"a{name}")), twin
        pairs.add(twin)
    assert pairs == {name for name in BLOCKING if not name.endswith("__enter__") and name != "wait"}
    for name in BLOCKING:
        if name.endswith("__enter__"):
            owner = named(name.split(".")[0])
            assert inspect.iscoroutinefunction(owner.__aenter__)
            assert inspect.iscoroutinefunction(owner.__aexit__)


def test_blocking_calls_are_documented() -> None:
    rows = DESIGN.read_text(encoding="utf-8").partition(TABLE_HEADER)[2].split("\n\n")[0]
    documented = re.findall(r"^\| (.+?) \| (.+?) \|$", rows, re.MULTILINE)
    expected = [
        twin.removeprefix("await ").replace("enchannel.", "ec.") for _, twin in BLOCKING.values()
    ]
    assert [
        re.findall(r"`(?:await )?(.*?)(?: …)?`", second)[0] for _, second in documented
    ] == expected


def test_aclose_ends_kernel() -> None:
    lifecycle = ScriptedLifecycle()
    remote = ScriptedLink(lifecycle=lifecycle)

    async def main() -> None:
        kernel = await remote.kernel()
        await kernel.aclose()
        await kernel.aclose()
        assert kernel.link_state.value is ec.LinkState.CLOSED

    run_on_loop(main)
    assert lifecycle.calls == ["shutdown"]
    assert remote.closed


def test_adetach_leaves_owned_kernel_running() -> None:
    lifecycle = ScriptedLifecycle()
    remote = ScriptedLink(lifecycle=lifecycle)

    async def main() -> None:
        kernel = await remote.kernel()
        await kernel.adetach()

    run_on_loop(main)
    assert lifecycle.calls == ["release"]
    assert remote.closed


def refusing_functions(package: str) -> Iterator[str]:
    """Yield the functions of a package that refuse to block, apart from the helpers that do it."""
    (directory,) = importlib.import_module(package).__path__
    for path in Path(directory).rglob("*.py"):
        for owner, function in functions(ast.parse(path.read_text(encoding="utf-8")), ""):
            if function.name.startswith("refuse_"):
                continue
            calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
            if any(isinstance(f, ast.Name) and f.id.startswith("refuse_") for f in calls):
                yield owner + function.name


def functions(node: ast.AST, owner: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield owner, child
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{child.name}.")


def coroutines_with_twin() -> Iterator[tuple[Any, str, str]]:
    """Yield the owner, name and qualified name of each public name that has an ``a`` twin."""
    for package in PACKAGES:
        for name in package.__all__:
            if f"a{name}" in package.__all__ and name != "iter":
                yield package, name, name
    for cls in {named(name) for name in ec.__all__ if inspect.isclass(named(name))}:
        for name in vars(cls):
            if not name.startswith("_") and f"a{name}" in vars(cls):
                yield cls, name, f"{cls.__name__}.{name}"


def named(name: str) -> Any:
    return getattr(ec, name)
