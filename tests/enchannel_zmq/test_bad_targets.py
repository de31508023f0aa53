"""Connections that fail: within the timeout, with the reason, and leaving nothing behind."""

import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import zmq
from reactivex import operators as ops

import enchannel as ec
import enchannel_zmq
from enchannel import ChannelName
from enchannel.testing import Collector
from tests.rigs import DEADLINE
from tests.rigs.frames import KEY, parts, signed
from tests.rigs.wire_kernel import CLIENT, PORT_FIELDS, Request, Welcome, WireKernel, reserve_port

CONNECT_TIMEOUT = 1.0
# For a busy machine, and shorter than a wait that has no limit.
EXTRA_TIMEOUT = 4.0


def descriptors() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor of the listing itself
            pass
    return found


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("enchannel")}


def until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition, since other threads close their resources a moment later."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.005)
    return True


@pytest.fixture(scope="module", autouse=True)
def warmed_up() -> None:
    """Open the resources that stay open for the whole process."""
    with WireKernel() as wire, ec.connect(wire.info, timeout=DEADLINE) as kernel:
        kernel.run("1", timeout=DEADLINE)


@contextmanager
def leaving_nothing() -> Iterator[None]:
    before = threads(), descriptors() if sys.platform == "linux" else {}
    yield
    assert until(lambda: threads() <= before[0]), f"left: {threads() - before[0]}"
    if sys.platform == "linux":
        assert until(lambda: len(descriptors()) <= len(before[1])), (
            f"left: {descriptors()} of {before[1]}"
        )


def failure(
    target: Any, *, timeout: float = CONNECT_TIMEOUT, **options: Any
) -> ec.ConnectionFailed:
    """Connect, and return the error; check that it is raised in time and leaves nothing behind."""
    with leaving_nothing():
        began = time.monotonic()
        with pytest.raises(ec.ConnectionFailed) as raised:
            ec.connect(target, session=CLIENT, timeout=timeout, **options)
        took = time.monotonic() - began
    assert took < timeout + EXTRA_TIMEOUT
    assert KEY.decode() not in f"{raised.value} {raised.value!r}"
    return raised.value


def names(text: str, *channels: ChannelName) -> bool:
    """Return True if the text names exactly these channels."""
    return set(re.findall(r"(\w+) \((?:tcp|ipc)://", text)) == {name.value for name in channels}


# -- no kernel at the address ---------------------------------------------------------------------


@contextmanager
def closed_ports() -> Iterator[dict[str, Any]]:
    with ExitStack() as owned:
        yield info([reserve_port(owned) for _ in PORT_FIELDS])


@contextmanager
def http_server() -> Iterator[dict[str, Any]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        serving = threading.Thread(target=server.serve_forever, args=[0.01])
        serving.start()
        try:
            yield info([server.server_port] * 5)
        finally:
            server.shutdown()
            serving.join()


class Quiet(BaseHTTPRequestHandler):
    # For a client that sends less than a request.
    timeout = 0.1

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def silent_server() -> Iterator[dict[str, Any]]:
    """Accept connections, or leave them in the backlog, and never send anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield info([server.getsockname()[1]] * 5)


@contextmanager
def closing_server() -> Iterator[dict[str, Any]]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close_connections() -> None:
            while not done.is_set():
                server.accept()[0].close()

        done = threading.Event()
        closing = threading.Thread(target=close_connections)
        closing.start()
        try:
            yield info([server.getsockname()[1]] * 5)
        finally:
            done.set()
            socket.create_connection(server.getsockname()).close()
            closing.join()


@contextmanager
def pub_socket() -> Iterator[dict[str, Any]]:
    """Bind a ZeroMQ socket of a type that fits none of the channels."""
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.linger = 0
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        yield info([port] * 5)


def info(ports: list[int], **changes: Any) -> dict[str, Any]:
    named = dict(zip(PORT_FIELDS.values(), ports, strict=True))
    return {"ip": "127.0.0.1", "key": KEY.decode(), **named, **changes}


def test_refused_connection_is_explained() -> None:
    with closed_ports() as target:
        text = str(failure(target))
    assert "connection refused" in text
    assert "within 1 s" in text
    assert names(text, *ChannelName)
    assert f"tcp://127.0.0.1:{target['shell_port']}" in text


@pytest.mark.parametrize("server", [http_server, silent_server, closing_server])
def test_peer_without_zeromq_is_explained(
    server: Callable[[], AbstractContextManager[dict[str, Any]]],
) -> None:
    with server() as target:
        text = str(failure(target))
    assert "the ZeroMQ handshake did not succeed" in text
    assert names(text, *ChannelName)


def test_zeromq_peer_of_wrong_kind_is_named() -> None:
    with pub_socket() as target:
        text = str(failure(target))
    assert "no answer within 1 s" in text
    for name in (ChannelName.SHELL, ChannelName.CONTROL, ChannelName.STDIN, ChannelName.HEARTBEAT):
        assert f"{name} (" in text


def test_missing_ipc_socket_is_explained(tmp_path: Path) -> None:
    text = str(failure(info([1, 2, 3, 4, 5], transport="ipc", ip=str(tmp_path / "k"))))
    assert "the socket does not exist" in text
    assert names(text, *ChannelName)
    assert f"ipc://{tmp_path}/k-1" in text


REQUIRED = [ChannelName.SHELL, ChannelName.CONTROL, ChannelName.IOPUB]


@pytest.mark.parametrize(
    ("transport", "name"),
    [*(("tcp", name) for name in REQUIRED), ("ipc", ChannelName.SHELL)],
)
def test_missing_socket_is_named(transport: str, name: ChannelName) -> None:
    with WireKernel(transport=transport, absent=[name]) as wire:
        text = str(failure(wire.info))
        assert names(text, name)
        assert wire.url(name) in text
        assert ("connection refused" if transport == "tcp" else "the socket does not exist") in text


OPTIONAL = [
    [ChannelName.HEARTBEAT],
    [ChannelName.STDIN],
    [ChannelName.STDIN, ChannelName.HEARTBEAT],
]


@pytest.mark.parametrize("welcome", [Welcome.NONE, Welcome.IPYKERNEL])
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("absent", OPTIONAL, ids=lambda names: "+".join(names))
def test_missing_optional_channel_is_reported(
    absent: list[ChannelName], transport: str, welcome: Welcome
) -> None:
    with (
        leaving_nothing(),
        WireKernel(transport=transport, absent=absent, welcome=welcome) as wire,
        ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel,
    ):
        errors = Collector(
            kernel.errors.pipe(ops.filter(lambda error: isinstance(error, ec.NotSupported)))
        )
        assert kernel.run("1", timeout=DEADLINE).status == "ok"
        for name in absent:
            with pytest.raises(ec.NotSupported, match=f"{name} channel"):
                getattr(kernel, name)
        for name in set(ChannelName) - set(absent):
            getattr(kernel, name)
        told = errors.wait_for_count(len(absent))
        assert sorted(str(error).split()[5] for error in told) == sorted(absent)
        for name in absent:
            assert any(wire.url(name) in str(error) for error in told)


def test_input_without_stdin_is_not_allowed() -> None:
    """The kernel raises in ``input()`` instead of waiting for an answer."""
    with (
        WireKernel(absent=[ChannelName.STDIN]) as wire,
        ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel,
    ):
        kernel.run("input()", on_input=lambda _: "", timeout=DEADLINE)
        assert wire.next_request("execute_request").content["allow_stdin"] is False


@pytest.mark.parametrize("absent", OPTIONAL, ids=lambda names: "+".join(names))
def test_death_without_optional_channel_is_noticed(absent: list[ChannelName]) -> None:
    with (
        WireKernel(absent=absent) as wire,
        ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel,
    ):
        wire.handlers["execute_request"] = lambda _: wire.post(wire.die)
        with pytest.raises(ec.KernelDied):
            kernel.run("1", timeout=DEADLINE)
        wire.restart()
        Collector(kernel.link_state).wait_until(lambda states: states[-1:] == ["connected"])
        wire.handlers["execute_request"] = wire.answer_execute
        assert kernel.run("1", timeout=DEADLINE).status == "ok"


def test_optional_channel_that_listens_late_is_connected() -> None:
    """ipykernel binds its heartbeat last, and sends the welcome before."""
    with WireKernel(absent=[ChannelName.HEARTBEAT]) as wire:

        def start(_: Request) -> None:
            wire.handlers["kernel_info_request"] = wire.answer_kernel_info
            wire.offer(ChannelName.HEARTBEAT)

        wire.handlers["kernel_info_request"] = start
        with ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel:
            assert kernel.heartbeat.name is ChannelName.HEARTBEAT
            assert kernel.run("1", timeout=DEADLINE).status == "ok"


@pytest.mark.parametrize("name", [ChannelName.HEARTBEAT, ChannelName.STDIN])
def test_optional_port_of_other_server_is_named(name: ChannelName) -> None:
    with WireKernel() as wire, silent_server() as other:
        field = PORT_FIELDS[name]
        text = str(failure({**wire.info, field: other[field]}))
    assert names(text, name)
    assert "the ZeroMQ handshake did not succeed" in text


def test_unreachable_host_times_out() -> None:
    """The address is reserved for documentation: unroutable, or dropped without a response."""
    text = str(failure(info([1, 2, 3, 4, 5], ip="192.0.2.1")))
    assert names(text, *ChannelName)


# -- a kernel with another key, or a silent one ----------------------------------------------------


@pytest.mark.parametrize("welcome", [Welcome.IPYKERNEL, Welcome.XEUS])
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_wrong_key_with_welcome_fails_at_once(transport: str, welcome: Welcome) -> None:
    """The welcome message reveals it, without waiting for the timeout."""
    with WireKernel(transport=transport, welcome=welcome) as wire:
        error = failure({**wire.info, "key": "another"}, timeout=DEADLINE)
    assert isinstance(error, ec.AuthenticationFailed)
    assert "another key" in str(error)
    assert "iopub" in str(error)


def test_wrong_key_of_silent_kernel_times_out() -> None:
    with WireKernel(welcome=Welcome.NONE) as wire:
        error = failure({**wire.info, "key": "another"})
        assert not isinstance(error, ec.AuthenticationFailed)
        assert "check that the key is correct" in str(error)
        assert names(str(error), ChannelName.IOPUB)
        assert not wire.rejected.empty()
        assert wire.requests.empty()


def test_wrong_key_of_busy_kernel_fails_at_once() -> None:
    """Messages for other clients reveal it."""
    with WireKernel(welcome=Welcome.NONE) as wire:
        working = threading.Event()

        def work() -> None:
            while not working.wait(0.005):
                wire.send_frames(
                    ChannelName.IOPUB, signed(KEY, *parts("status", {"execution_state": "busy"}))
                )

        worker = threading.Thread(target=work)
        worker.start()
        try:
            error = failure({**wire.info, "key": "another"}, timeout=DEADLINE)
        finally:
            working.set()
            worker.join()
    assert isinstance(error, ec.AuthenticationFailed)


def test_wrong_signature_scheme_fails() -> None:
    with WireKernel() as wire:
        error = failure({**wire.info, "signature_scheme": "hmac-sha512"}, timeout=DEADLINE)
    assert isinstance(error, ec.AuthenticationFailed)


def test_key_for_unsigned_kernel_fails() -> None:
    with WireKernel(key=b"") as wire:
        error = failure({**wire.info, "key": "another"}, timeout=DEADLINE)
    assert isinstance(error, ec.AuthenticationFailed)


@pytest.mark.parametrize(
    ("mute", "welcome"),
    [([ChannelName.IOPUB], Welcome.IPYKERNEL), (list(ChannelName), Welcome.NONE)],
    ids=["iopub", "all"],
)
def test_silent_kernel_times_out(mute: list[ChannelName], welcome: Welcome) -> None:
    with WireKernel(mute=mute, welcome=welcome) as wire:
        text = str(failure(wire.info))
        assert names(text, ChannelName.IOPUB)
        assert "no message arrived on iopub" in text
        assert wire.next_request("kernel_info_request")  # the probe


@pytest.mark.parametrize(
    "mute", [ChannelName.SHELL, ChannelName.CONTROL, ChannelName.STDIN, ChannelName.HEARTBEAT]
)
def test_kernel_with_one_mute_channel_connects(mute: ChannelName) -> None:
    """A message on iopub is proof enough: a kernel may be busy, and some answer no heartbeat."""
    with (
        WireKernel(mute=[mute], welcome=Welcome.NONE) as wire,
        ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel,
    ):
        assert kernel.link_state.value is ec.LinkState.CONNECTED


# -- encryption -----------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_plain_client_of_curve_kernel_fails(transport: str) -> None:
    with WireKernel(transport=transport, curve=True) as wire:
        plain = {name: value for name, value in wire.info.items() if "curve" not in name}
        text = str(failure(plain))
    assert "if it requires CURVE encryption" in text
    assert names(text, *ChannelName)


def test_curve_client_of_plain_kernel_fails() -> None:
    public, secret = (key.decode() for key in zmq.curve_keypair())
    with WireKernel() as wire:
        curve = {"curve_publickey": public, "curve_secretkey": secret}
        text = str(failure({**wire.info, **curve}))
    assert "a kernel that uses CURVE encryption" in text
    assert names(text, *ChannelName)
    assert secret not in text


def test_wrong_curve_keys_fail() -> None:
    public, secret = (key.decode() for key in zmq.curve_keypair())
    with WireKernel(curve=True) as wire:
        curve = {"curve_publickey": public, "curve_secretkey": secret}
        text = str(failure({**wire.info, **curve}))
    assert "CURVE" in text
    assert names(text, *ChannelName)


def test_curve_connection_works() -> None:
    with (
        leaving_nothing(),
        WireKernel(curve=True) as wire,
        ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel,
    ):
        assert kernel.run("1", timeout=DEADLINE).status == "ok"


# -- no key ---------------------------------------------------------------------------------------


def test_missing_key_is_refused() -> None:
    with WireKernel(key=b"") as wire:
        text = str(failure(wire.info))
        assert "has no key" in text
        assert "allow_unsigned=True" in text
        assert wire.requests.empty()


def test_missing_key_can_be_allowed() -> None:
    with (
        WireKernel(key=b"") as wire,
        ec.connect(wire.info, session=CLIENT, timeout=DEADLINE, allow_unsigned=True) as kernel,
    ):
        assert kernel.run("1", timeout=DEADLINE).status == "ok"


def test_missing_key_is_accepted_in_private_dir() -> None:
    with (
        WireKernel(key=b"", transport="ipc") as wire,
        ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel,
    ):
        assert kernel.run("1", timeout=DEADLINE).status == "ok"


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o705, 0o770, 0o711])
def test_missing_key_is_refused_in_shared_dir(mode: int) -> None:
    with WireKernel(key=b"", transport="ipc") as wire:
        Path(wire.info["ip"]).parent.chmod(mode)
        assert "has no key" in str(failure(wire.info))


def test_missing_key_is_refused_in_foreign_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireKernel(key=b"", transport="ipc") as wire:
        monkeypatch.setattr("os.getuid", lambda: 12_345)
        assert "has no key" in str(failure(wire.info))


def test_missing_key_is_refused_in_missing_dir() -> None:
    target = info([1, 2, 3, 4, 5], transport="ipc", ip="/nowhere/at/all/k", key="")
    assert "has no key" in str(failure(target))


# -- invalid targets ------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["gopher://host/1", "redis://127.0.0.1", "x+y://z"])
def test_unknown_scheme_is_refused(target: str) -> None:
    with pytest.raises(ec.BackendNotFound) as raised:
        ec.connect(target)
    assert repr(target.partition(":")[0]) in str(raised.value)
    assert "zmq" in str(raised.value)


def test_unknown_transport_is_refused() -> None:
    assert "'udp'" in str(failure(info([1, 2, 3, 4, 5], transport="udp")))


@pytest.mark.parametrize("target", [None, 5, b"kernel.json", [], object])
def test_target_of_wrong_type_is_refused(target: object) -> None:
    with pytest.raises(TypeError, match="target must be a path"):
        ec.connect(target)  # type: ignore[arg-type]


def test_info_without_ports_is_refused() -> None:
    assert "missing: shell" in str(failure(ec.ConnectionInfo(key=ec.Secret(KEY.decode()))))


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "k.json") in str(failure(tmp_path / "k.json"))


@pytest.mark.parametrize(
    "changes",
    [
        {"ip": "not an address"},
        {"ip": "a\0b"},
        {"transport": "ipc", "ip": "/tmp/" + "x" * 200},  # noqa: S108  # nothing is made there
        dict.fromkeys(("curve_publickey", "curve_secretkey"), "#" * 40),
    ],
    ids=["address", "nul", "long path", "no curve keys"],
)
@pytest.mark.parametrize("others", [False, True], ids=["alone", "beside another"])
def test_address_that_zeromq_rejects_fails(changes: dict[str, str], others: bool) -> None:
    """Also next to a connected kernel, whose sockets keep the I/O thread running."""
    with ExitStack() as owned:
        if others:
            wire = owned.enter_context(WireKernel())
            owned.enter_context(ec.connect(wire.info, session=CLIENT, timeout=DEADLINE))
        text = str(failure(info([1, 2, 3, 4, 5], **changes), timeout=DEADLINE))
    assert "ZeroMQ rejects the address or the keys of shell" in text


def test_file_of_ended_kernel_is_explained(tmp_path: Path) -> None:
    with WireKernel() as wire:
        path = tmp_path / "kernel-1.json"
        path.write_text(json.dumps(wire.info))
        with ec.connect(path, session=CLIENT, timeout=DEADLINE) as kernel:
            assert kernel.id == "1"
        wire.die()
        text = str(failure(path))
    assert "connecting to kernel 1 failed: no answer" in text
    assert "check that the kernel is running" in text


def test_kernel_that_starts_later_connects() -> None:
    with WireKernel() as wire:
        wire.die()
        timer = threading.Timer(0.1, wire.restart)
        timer.start()
        with ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel:
            assert kernel.run("1", timeout=DEADLINE).status == "ok"
        timer.join()


def test_repeated_failures_leave_nothing() -> None:
    with closed_ports() as target, leaving_nothing():
        for _ in range(20):
            failure(target, timeout=0.01)


def test_swapped_shell_and_heartbeat_port_fails() -> None:
    with ec.launch(transport="tcp") as owner:
        fields = json.loads(enchannel_zmq.find_connection_file(owner.id).read_text())
        fields["shell_port"], fields["hb_port"] = fields["hb_port"], fields["shell_port"]
        with leaving_nothing():
            # Connecting succeeds if the welcome message arrives on iopub before the echo of a probe.
            with (
                pytest.raises(
                    (ec.ConnectionFailed, ec.ConnectionLost), match="echoes messages sent on shell"
                ),
                ec.connect(fields, timeout=DEADLINE) as kernel,
            ):
                kernel.run("6 * 7", timeout=DEADLINE)
        assert owner.run("6 * 7", timeout=DEADLINE).text == "42"


def test_unknown_host_is_named() -> None:
    with WireKernel() as wire:
        fields = {**wire.info, "ip": "no-such-host.invalid"}
    assert "check that the host no-such-host.invalid exists" in str(failure(fields))
