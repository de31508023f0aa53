"""Wrong arguments of connect() and launch() raise where they are called, also on an event loop."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import enchannel as ec
from enchannel.testing import MemoryRig
from tests.rigs.scripted import ScriptedLink
from tests.rigs.threads import run_on_loop

SERVER = "http://localhost:1"
KERNEL = f"{SERVER}/api/kernels/1"
RELAY = "socketio+http://localhost:1"

# Typed as untyped calls are: most of these are errors to a type checker.
connect: Any = ec.connect
launch: Any = ec.launch
record: Any = ec.record
wait: Any = ec.wait

Call = Callable[[], object]

WEBSOCKET_NUMBERS = (
    "max_sent",
    "max_received",
    "keepalive_timeout",
    "reconnect_timeout",
    "poll_interval",
)
RELAY_NUMBERS = ("max_received", "reconnect_timeout")
NUMBERS: list[tuple[Any, type[Exception]]] = [
    ("5", TypeError),
    (None, TypeError),
    (True, TypeError),
    (-1, ValueError),
]


def calling(method: str, **options: Any) -> Callable[[Any], object]:
    """Return a function that calls a method of a kernel with code and options."""
    return lambda kernel: getattr(kernel, method)("1", **options)


CALLS: dict[str, tuple[type[Exception], str, Call]] = {
    "unknown option": (TypeError, "'tokn'.*options: .*token", lambda: connect(KERNEL, tokn="x")),
    "unknown option of launch": (
        TypeError,
        "'tokn'.*options: .*token",
        lambda: launch(at=SERVER, tokn="x"),
    ),
    "unknown option of zmq": (
        TypeError,
        "'transprt' for the backend 'zmq'; options: .*transport",
        lambda: launch(transprt="tcp"),
    ),
    "unknown option of replay": (TypeError, "'sped'.*speed", lambda: connect("replay:x", sped=2)),
    "unknown backend": (ec.BackendNotFound, "'gopher'", lambda: connect("gopher://here/ada")),
    "unknown server": (ec.BackendNotFound, "'gopher'", lambda: launch(at="gopher://here")),
    "at without scheme": (ValueError, "at must be a server URL", lambda: launch(at="foo")),
    "at of connect without scheme": (
        ValueError,
        "at must be a server URL",
        lambda: connect("ada", at="foo"),
    ),
    "at without host": (ValueError, "a server URL must begin", lambda: launch(at="http://")),
    "at of other type": (TypeError, "at must be a server URL.* not int", lambda: launch(at=3)),
    "at and zmq": (ValueError, "at must be None", lambda: launch(at=SERVER, backend="zmq")),
    "no at": (TypeError, "at must be the URL of a server", lambda: launch(backend="https")),
    "no at of relay": (
        TypeError,
        "at must be the URL of a relay",
        lambda: launch(backend="socketio+http"),
    ),
    "backend of other type": (TypeError, "backend must be", lambda: connect("x", backend=object())),
    "class as backend": (TypeError, "backend must be", lambda: connect("x", backend=MemoryRig)),
    "target 3": (TypeError, "target must be a path.* not int", lambda: connect(3)),
    "target None": (TypeError, "target must be a path.* not NoneType", lambda: connect(None)),
    "target of memory": (
        TypeError,
        "target must be an InMemoryKernel",
        lambda: connect(3, backend="memory"),
    ),
    "target of replay": (
        TypeError,
        "target must be the path of a recording",
        lambda: connect(3, backend="replay"),
    ),
    "speed of replay": (ValueError, "speed must be", lambda: connect("replay:x", speed=0)),
    "target of http": (
        TypeError,
        "server URL must be a string, not int",
        lambda: connect(3, backend="https"),
    ),
    "URL of a kernel as id": (ValueError, "must be the id", lambda: connect(KERNEL, at=SERVER)),
    "id of other type": (TypeError, "must be the id", lambda: connect(3, at=SERVER)),
    "URL without host": (ValueError, "a server URL must begin", lambda: connect("http://")),
    "URL of server": (ec.ConnectionFailed, "not that of a server", lambda: connect(SERVER)),
    "http to other host": (
        ec.ConnectionFailed,
        "allow_http=True",
        lambda: connect("http://example.org/api/kernels/1"),
    ),
    "name of other type": (TypeError, "name must be", lambda: launch(3)),
    "timeout 0": (ValueError, "timeout must be a positive", lambda: connect("x", timeout=0)),
    "timeout -1": (ValueError, "timeout must be a positive", lambda: launch(timeout=-1)),
    "timeout nan": (ValueError, "timeout must be a positive", lambda: launch(timeout=math.nan)),
    "timeout text": (TypeError, "timeout must be a number", lambda: launch(timeout="3")),
    "timeout None": (TypeError, "timeout must be a number", lambda: connect("x", timeout=None)),
    "silent_after 0": (ValueError, "silent_after must be", lambda: connect("x", silent_after=0)),
    "silent_after text": (TypeError, "silent_after must be", lambda: launch(silent_after="5")),
    "silent_after of a link": (
        ValueError,
        "silent_after must be",
        lambda: ec.Kernel.from_link(ScriptedLink().link, silent_after=-1),
    ),
    "session of other type": (TypeError, "session must be", lambda: launch(session="abc")),
    "cwd of other type": (TypeError, "cwd must be the path", lambda: launch(cwd=3)),
    "extra_env list": (TypeError, "extra_env must be a mapping", lambda: launch(extra_env=["A=1"])),
    "extra_env value": (TypeError, r"extra_env\['A'\] must", lambda: launch(extra_env={"A": 1})),
    "extra_env name": (
        TypeError,
        "extra_env must have strings",
        lambda: launch(extra_env={1: "A"}),
    ),
    "misspelt timeout": (TypeError, "use 'timeout' instead", lambda: launch(timeot=3)),
    "env of subprocess": (TypeError, "use 'extra_env' instead", lambda: launch(env={})),
    "kernel_name": (TypeError, "use 'name' instead", lambda: launch(kernel_name="ir")),
    "at host and port": (ValueError, "write http://localhost:1$", lambda: launch(at="localhost:1")),
    "target host and port": (
        ValueError,
        "write http://localhost:1/api",
        lambda: connect("localhost:1/api/kernels/1"),
    ),
    "transport": (ValueError, "transport must be .*'ipc'", lambda: launch(transport="udp")),
    "encryption": (ValueError, "encryption must be .*'auto'", lambda: launch(encryption=None)),
    "since -1": (ValueError, "since must be a position", lambda: connect(f"{RELAY}/1", since=-1)),
    "since text": (
        TypeError,
        "since must be an int or None, not str",
        lambda: connect(f"{RELAY}/1", since="5"),
    ),
    "scheduler number": (TypeError, "scheduler must be a scheduler", lambda: launch(scheduler=5)),
    "speed text": (TypeError, "speed must be a number", lambda: connect("replay:x", speed="5")),
    "start number": (TypeError, "start must be .*Obs", lambda: connect("replay:x", start=5)),
    "encryption number": (ValueError, "encryption must be .*'auto'", lambda: launch(encryption=5)),
    "headers list": (TypeError, "headers must be a mapping", lambda: connect(KERNEL, headers=[1])),
    "ssl of other type": (TypeError, "ssl must be", lambda: connect(KERNEL, ssl=True)),
    "arguments text": (TypeError, "a sequence of strings", lambda: launch(extra_arguments="-v")),
    "arguments number": (TypeError, "extra_arguments must", lambda: launch(extra_arguments=3)),
    "notebook number": (TypeError, "notebook must be", lambda: launch(at=SERVER, notebook=3)),
    **{
        f"{name} {value!r} of {at}": (
            error,
            name,
            partial(connect, f"{at}/api/kernels/1", **{name: value}),
        )
        for at, names in {"http://localhost:1": WEBSOCKET_NUMBERS, RELAY: RELAY_NUMBERS}.items()
        for name in names
        for value, error in NUMBERS
    },
    **{
        f"{name} {value!r} of zmq": (
            error,
            name,
            partial(connect, "x", **{name: value}),
        )
        for name in ("max_received", "keepalive_timeout", "reconnect_timeout")
        for value, error in NUMBERS
    },
    **{
        f"{name} {value!r} of launch": (
            error,
            name,
            partial(launch, **{name: value}),
        )
        for name in ("max_received", "shutdown_timeout")
        for value, error in NUMBERS
    },
    **{
        f"{name} of launch": (
            TypeError,
            f"{name} must be a bool, not int",
            partial(launch, **{name: 1}),
        )
        for name in ("independent", "record_history")
    },
    **{
        f"{name} of other type": (
            TypeError,
            f"{name} must be a bool",
            partial(connect, KERNEL, **{name: "yes"}),
        )
        for name in ("legacy", "allow_http")
    },
    "keepalive_timeout nan": (
        ValueError,
        "keepalive_timeout must be a positive",
        lambda: connect("x", keepalive_timeout=math.nan),
    ),
    "poll_interval nan": (
        ValueError,
        "poll_interval must be a positive",
        lambda: connect(KERNEL, poll_interval=math.nan),
    ),
    "allow_unsigned": (TypeError, "must be a bool", lambda: connect("x", allow_unsigned="no")),
    **{
        f"{name} of other type": (
            TypeError,
            f"{name} must be a string.*not int",
            partial(connect, KERNEL, **{name: 5}),
        )
        for name in ("token", "password")
    },
}


@pytest.fixture(params=list(CALLS.values()), ids=list(CALLS))
def wrong_call(request: pytest.FixtureRequest) -> tuple[type[Exception], str, Call]:
    error, text, call = request.param
    return error, text, call


def test_wrong_argument_raises(wrong_call: tuple[type[Exception], str, Call]) -> None:
    error, text, call = wrong_call
    with pytest.raises(error, match=text) as raised:
        call()
    if error in (TypeError, ValueError):
        assert not isinstance(raised.value, ec.EnchannelError)


def test_wrong_argument_raises_on_loop(wrong_call: tuple[type[Exception], str, Call]) -> None:
    error, text, call = wrong_call

    async def main() -> None:
        with pytest.raises(error, match=text):
            call()

    run_on_loop(main)


LISTINGS: dict[str, tuple[type[Exception], str, dict[str, Any]]] = {
    "unknown option": (TypeError, "unknown option 'tokn'", {"at": SERVER, "tokn": "x"}),
    "at without scheme": (ValueError, "at must be a server URL", {"at": "foo"}),
    "at of other type": (TypeError, "at must be a server URL", {"at": 3}),
    "timeout 0": (ValueError, "timeout must be a positive", {"timeout": 0}),
    "backend of other type": (TypeError, "backend must be", {"backend": object()}),
    "no at": (TypeError, "at must be the URL of a server, such as http", {"backend": "http"}),
    "no at of relay": (
        TypeError,
        r"at must be the URL of a relay, such as socketio\+http",
        {"backend": "socketio+http"},
    ),
}


@pytest.mark.parametrize("listing", [ec.list_kernels, ec.list_kernelspecs])
@pytest.mark.parametrize(("error", "text", "arguments"), LISTINGS.values(), ids=LISTINGS)
def test_wrong_argument_of_listing_raises(
    listing: Any, error: type[Exception], text: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(error, match=text):
        listing(**arguments)


@pytest.mark.parametrize("listing", [ec.alist_kernels, ec.alist_kernelspecs])
@pytest.mark.parametrize(("error", "text", "arguments"), LISTINGS.values(), ids=LISTINGS)
def test_wrong_argument_of_async_listing_raises(
    listing: Any, error: type[Exception], text: str, arguments: dict[str, Any]
) -> None:
    async def main() -> None:
        with pytest.raises(error, match=text):
            await listing(**arguments)

    run_on_loop(main)


FLAGS = ("silent", "store_history", "allow_stdin", "stop_on_error")
KERNEL_CALLS: dict[str, tuple[type[Exception], str, Callable[[Any], object]]] = {
    "complete beyond code": (
        ValueError,
        "cursor_pos must be 0 to 3",
        lambda k: k.complete("abc", 4),
    ),
    "complete before code": (
        ValueError,
        "cursor_pos must be 0 to 3",
        lambda k: k.complete("abc", -1),
    ),
    "inspect beyond code": (ValueError, "cursor_pos must be 0 to 3", lambda k: k.inspect("abc", 4)),
    "cursor text": (TypeError, "cursor_pos must be an int", lambda k: k.inspect("abc", "1")),
    "complete number": (TypeError, "code must be a string, not int", lambda k: k.complete(5)),
    "on_input of run": (
        TypeError,
        "on_input must be a function",
        lambda k: k.run("1", on_input="y"),
    ),
    "on_input of execute": (
        TypeError,
        "on_input must be a function",
        lambda k: k.execute("1", on_input="y"),
    ),
    "timeout of run": (TypeError, "timeout must be a number", lambda k: k.run("1", timeout="5")),
    "max_output text": (TypeError, "max_output must be", lambda k: k.run("1", max_output="5")),
    **{
        f"{name} {value!r} of {method}": (
            error,
            f"{name} must be",
            calling(method, **{name: value}),
        )
        for method in ("run", "execute")
        for name in ("timeout", "idle_grace")
        for value, error in [
            ("5", TypeError),
            (True, TypeError),
            (0, ValueError),
            (-1, ValueError),
            (math.nan, ValueError),
            (math.inf, ValueError),
        ]
    },
    **{
        f"{name} of {method}": (
            TypeError,
            f"{name} must be a bool",
            calling(method, **{name: "no"}),
        )
        for method, names in {
            "run": (*FLAGS, "check"),
            "execute": (*FLAGS, "interrupt_if_abandoned"),
        }.items()
        for name in names
    },
    **{
        f"user_expressions {number} of {method}": (
            TypeError,
            "user_expressions",
            calling(method, user_expressions=value),
        )
        for method in ("run", "execute")
        for number, value in enumerate(["x", ["x"], {"x": 1}, {1: "x"}])
    },
    "code of run": (TypeError, "code must be a string, not int", lambda k: k.run(1)),
    "code of execute": (
        TypeError,
        "code must be a string, not NoneType",
        lambda k: k.execute(None),
    ),
    "max_output -1": (ValueError, "max_output must be", lambda k: k.run("1", max_output=-1)),
    "max_output True": (TypeError, "max_output must be", lambda k: k.run("1", max_output=True)),
    "request of other type": (TypeError, "timeout must be", lambda k: k.kernel_info(timeout="5")),
    "wait for kernel": (TypeError, "observable must be .*not Kernel", ec.wait),
    "wait for coroutine": (TypeError, "run.*waits by itself", lambda k: ec.wait(k.arun("1"))),
    "wait for text": (TypeError, "observable must be", lambda k: wait("1")),
    "timeout of wait": (
        TypeError,
        "timeout must be a number",
        lambda k: wait(k.execute("1"), timeout="5"),
    ),
    "aiter of kernel": (TypeError, "observable must be", ec.aiter),
    "record swapped": (TypeError, "kernel must be a Kernel, not str", lambda k: record("x", k)),
    "record number": (TypeError, "path must be the path", lambda k: record(k, 3)),
}


@pytest.mark.parametrize(("error", "text", "call"), KERNEL_CALLS.values(), ids=KERNEL_CALLS)
def test_wrong_argument_of_kernel_raises(
    error: type[Exception], text: str, call: Callable[[Any], object]
) -> None:
    remote = ScriptedLink()
    with remote.kernel() as kernel, pytest.raises(error, match=text):
        call(kernel)
    assert not any(remote.received.values())


ARUN_CALLS: dict[str, tuple[type[Exception], str, Any]] = {
    "code": (TypeError, "code", {"code": 1}),
    "timeout text": (TypeError, "timeout", {"timeout": "5"}),
    "timeout 0": (ValueError, "timeout", {"timeout": 0}),
    "idle_grace text": (TypeError, "idle_grace", {"idle_grace": "5"}),
    "idle_grace 0": (ValueError, "idle_grace", {"idle_grace": 0}),
    "on_input": (TypeError, "on_input", {"on_input": "yes"}),
    "max_output text": (TypeError, "max_output", {"max_output": "5"}),
    "max_output -1": (ValueError, "max_output", {"max_output": -1}),
    "user_expressions": (TypeError, "user_expressions", {"user_expressions": {"x": 1}}),
    **{name: (TypeError, name, {name: 1}) for name in (*FLAGS, "check")},
}


@pytest.mark.parametrize(("error", "text", "arguments"), ARUN_CALLS.values(), ids=ARUN_CALLS)
def test_wrong_argument_of_arun_raises(
    error: type[Exception], text: str, arguments: dict[str, Any]
) -> None:
    remote = ScriptedLink()

    async def main() -> None:
        async with remote.kernel() as kernel:
            with pytest.raises(error, match=f"{text}.* must be"):
                await kernel.arun(**{"code": "1", **arguments})

    run_on_loop(main)
    assert not any(remote.received.values())


def test_cursor_at_end_of_code_is_sent() -> None:
    assert ec.complete_request("abc", 3).content["cursor_pos"] == 3
    assert ec.inspect_request("", 0).content["cursor_pos"] == 0


def test_async_for_over_request_names_aiter() -> None:
    async def main() -> None:
        async with ScriptedLink().kernel() as kernel:
            request: Any = kernel.execute("1")
            with pytest.raises(TypeError, match=r"enchannel\.aiter"):
                _ = [message async for message in request]

    run_on_loop(main)
