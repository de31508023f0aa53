"""Keys appear in no text, repr, log, pickle or command output."""

import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import enchannel as ec
import enchannel_zmq
from enchannel import ChannelName
from enchannel.testing import Collector
from enchannel.wire.signing import Signer
from tests.enchannel_cli.command import enchannel
from tests.enchannel_zmq.conftest import settle
from tests.rigs import DEADLINE, eventually
from tests.rigs.frames import KEY, parts, signed
from tests.rigs.wire_kernel import CLIENT, WireKernel

CLOSED_PORT = 1
# These fail at once; the others wait for their timeout.
FAILING_AT_ONCE = {"a wrong key", "an unknown scheme", "an invalid port"}


class Visible:
    """Texts that a user can see, by the place where it was seen."""

    def __init__(self, *secrets: str) -> None:
        self.secrets = secrets
        self.texts: dict[str, list[str]] = {}

    def add(self, where: str, *things: object) -> None:
        texts = self.texts.setdefault(where, [])
        for thing in things:
            texts += [str(thing), repr(thing)]
            if isinstance(thing, BaseException):
                texts += traceback.format_exception(thing)
                texts += [repr(vars(thing)), repr(thing.args)]
                texts.append(pickle.dumps(thing).decode("latin-1"))

    @contextmanager
    def failing(self, where: str, kind: type[Exception] = ec.ConnectionFailed) -> Iterator[None]:
        with pytest.raises(kind) as raised:
            yield
        self.add(where, raised.value)

    def leaks(self) -> list[str]:
        return [
            f"{where}: {text[:200]}"
            for where, texts in self.texts.items()
            for text in texts
            if any(secret in text for secret in self.secrets)
        ]


def test_leak_in_error_is_found() -> None:
    visible = Visible("the-key")
    visible.add("an error", ec.ConnectionFailed("the-key is wrong"))
    assert len(visible.leaks()) == 5


def everything_public(kernel: ec.Kernel) -> list[object]:
    channels = [
        kernel.shell,
        kernel.control,
        kernel.stdin,
        kernel.iopub,
        kernel.heartbeat,
        kernel.main,
    ]
    states = [kernel.link_state, kernel.state, kernel.errors]
    return [kernel, kernel.session, kernel.execute("1"), *channels, *states]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def test_keys_are_never_shown(
    log: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with WireKernel(curve=True) as wire:
        info = ec.ConnectionInfo.from_dict(wire.info)
        visible = Visible(KEY.decode(), wire.info["curve_secretkey"])
        path = tmp_path / "kernel-shown.json"
        visible.add("values", info, replace(info, extra={"a": 1}), info.key, info.curve_secretkey)
        visible.add("values", Signer(KEY), enchannel_zmq.backend)
        connect_wrongly(visible, wire.info, path)
        path.write_text(json.dumps(wire.info))
        visible.add("the command", enchannel("run", "1", "--existing", str(path)))
        with ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel:
            wire.send_frames(
                ChannelName.IOPUB, signed(b"another", *parts())
            )  # before there is a subscriber
            assert eventually(lambda: bool(log.records))
            live_and_die(visible, wire, kernel)
        visible.add("closed", *everything_public(kernel))
    visible.add("the log", *log.messages, log.text)
    visible.add("the log", *(vars(record) for record in log.records))
    visible.add("the terminal", *capfd.readouterr())
    assert visible.leaks() == []


def connect_wrongly(visible: Visible, fields: dict[str, Any], path: Path) -> None:
    """Fail to connect in every way."""
    ways: dict[str, dict[str, Any]] = {
        "a wrong key": {"key": "another-key"},
        "no encryption": {"curve_publickey": "", "curve_secretkey": ""},
        "a wrong port": {"iopub_port": CLOSED_PORT},
        "an unknown scheme": {"signature_scheme": "rot13"},
        "an unknown transport": {"transport": "udp"},
        "half of the encryption": {"curve_publickey": ""},
        "an invalid port": {"shell_port": fields["key"]},
        "no port": {"hb_port": None},
    }
    for where, changes in ways.items():
        with visible.failing(where):
            ec.connect({**fields, **changes}, timeout=0.3)
        path.write_text(json.dumps({**fields, **changes}))
        with visible.failing(where):
            ec.connect(path, timeout=0.3)
        if where in FAILING_AT_ONCE:
            visible.add(f"the command, {where}", enchannel("run", "1", "--existing", str(path)))
    path.write_text(json.dumps(fields)[:-1])
    with visible.failing("a file that is cut short"):
        ec.connect(path)
    visible.add("the command, cut short", enchannel("run", "1", "--existing", str(path)))


def live_and_die(visible: Visible, wire: WireKernel, kernel: ec.Kernel) -> None:
    messages, errors = Collector(kernel.main), Collector(kernel.errors)

    def raising(message: object) -> None:
        raise ZeroDivisionError

    kernel.main.subscribe(raising)
    good = signed(KEY, *parts("stream", {"text": "heard"}))
    bad = [signed(b"another", *parts()), signed(b"", *parts()), [b"x"], good[:4], good, good]
    wire.send_frames(ChannelName.IOPUB, *bad)
    kernel.run("1", timeout=DEADLINE)

    wire.handlers.clear()
    with visible.failing("a timeout", ec.RequestTimeout):
        kernel.run("1", timeout=0.05)
    with visible.failing("an invalid message", ec.InvalidMessage):
        kernel.shell.on_next("no message")  # type: ignore[arg-type]
    visible.add("alive", *everything_public(kernel))
    pending, links = Collector(kernel.execute("1")), Collector(kernel.link_state)
    wire.next_request("execute_request")
    wire.die()
    pending.wait_for_end()
    links.wait_until(lambda states: states[-1:] == ["lost"])
    with visible.failing("a kernel that died", ec.EnchannelError):
        kernel.run("1")
    visible.add("messages", *messages.items)
    visible.add("errors", *errors.items, pending.error)
    visible.add("dead", *everything_public(kernel))
    assert {type(error) for error in errors.items} >= {
        ec.InvalidSignature,
        ec.MalformedFrame,
        ec.ReplayedFrame,
        ec.SubscriberRaised,
    }


@pytest.mark.kernel
def test_launched_kernels_keys_are_never_shown(
    log: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with ec.launch(transport="tcp", encryption="required") as kernel:
        path = enchannel_zmq.find_connection_file(kernel.id)
        info = enchannel_zmq.read_connection_file(path)
        visible = Visible(info.key.reveal(), info.curve_secretkey.reveal())
        assert all(visible.secrets)
        visible.add("alive", *everything_public(kernel))
        kernel.run("1", timeout=DEADLINE)
        with visible.failing("a timeout", ec.RequestTimeout):
            kernel.run("import time; time.sleep(600)", timeout=1.0)
        settle(kernel)
        with visible.failing("a death", ec.KernelDied):
            kernel.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", timeout=DEADLINE)
        visible.add("errors", *Collector(kernel.errors).items)
        ec.wait(kernel.restart(), timeout=DEADLINE)
        visible.add("restarted", *everything_public(kernel), kernel.run("6 * 7", timeout=DEADLINE))
    with visible.failing("a launch", ec.LaunchFailed):
        ec.launch(
            extra_env={"PYTHONPATH": str(path.parent)}, cwd=path.parent / "nowhere", timeout=0.5
        )
    visible.add("the log", *log.messages, log.text)
    visible.add("the log", *(vars(record) for record in log.records))
    visible.add("the terminal", *capfd.readouterr())
    assert log.records
    assert visible.leaks() == []
