"""A key is in nothing that is shown: no text, repr, log or pickle, and not what the command prints."""

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
from enchannel.testing import Seen
from enchannel.wire.signing import Signer
from tests.enchannel_cli.shell import enchannel
from tests.enchannel_zmq.conftest import settle
from tests.rigs import DEADLINE, eventually
from tests.rigs.frames import KEY, parts, signed
from tests.rigs.wire_kernel import CLIENT, WireKernel

NOWHERE = 1  # a port on which nobody listens
AT_ONCE = {"a wrong key", "an unknown scheme", "a port that is none"}  # the others are waited for


class Told:
    """All that somebody could see, and where it was seen."""

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


def test_it_would_be_found() -> None:
    told = Told("the-key")
    told.add("an error", ec.ConnectionFailed("the-key is wrong"))
    assert len(told.leaks()) == 5


def everything_public(kernel: ec.Kernel) -> list[object]:
    channels = [
        kernel.shell,
        kernel.control,
        kernel.stdin,
        kernel.iopub,
        kernel.heartbeat,
        kernel.main,
    ]
    told = [kernel.link, kernel.state, kernel.errors]
    return [kernel, kernel.session, kernel.execute("1"), *channels, *told]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def test_keys_are_shown_nowhere(
    log: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with WireKernel(curve=True) as wire:
        info = ec.ConnectionInfo.from_dict(wire.info)
        told = Told(KEY.decode(), wire.info["curve_secretkey"])
        path = tmp_path / "kernel-shown.json"
        told.add("values", info, replace(info, extra={"a": 1}), info.key, info.curve_secretkey)
        told.add("values", Signer(KEY), enchannel_zmq.backend)
        connect_wrongly(told, wire.info, path)
        path.write_text(json.dumps(wire.info))
        told.add("the command", enchannel("run", "1", "--connection", str(path)))
        with ec.connect(wire.info, session=CLIENT, timeout=DEADLINE) as kernel:
            wire.send(ChannelName.IOPUB, signed(b"another", *parts()))  # which nobody hears of yet
            assert eventually(lambda: bool(log.records))
            live_and_die(told, wire, kernel)
        told.add("closed", *everything_public(kernel))
    told.add("the log", *log.messages, log.text)
    told.add("the log", *(vars(record) for record in log.records))
    told.add("the terminal", *capfd.readouterr())
    assert told.leaks() == []


def connect_wrongly(told: Told, fields: dict[str, Any], path: Path) -> None:
    """In each of the ways in which a connection fails."""
    ways: dict[str, dict[str, Any]] = {
        "a wrong key": {"key": "another-key"},
        "no encryption": {"curve_publickey": "", "curve_secretkey": ""},
        "a wrong port": {"iopub_port": NOWHERE},
        "an unknown scheme": {"signature_scheme": "rot13"},
        "an unknown transport": {"transport": "pigeon"},
        "half of the encryption": {"curve_publickey": ""},
        "a port that is none": {"shell_port": fields["key"]},
        "no port": {"hb_port": None},
    }
    for where, changes in ways.items():
        with told.failing(where):
            ec.connect({**fields, **changes}, timeout=0.3)
        path.write_text(json.dumps({**fields, **changes}))
        with told.failing(where):
            ec.connect(path, timeout=0.3)
        if where in AT_ONCE:
            told.add(f"the command, {where}", enchannel("run", "1", "--connection", str(path)))
    path.write_text(json.dumps(fields)[:-1])
    with told.failing("a file that is cut short"):
        ec.connect(path)
    told.add("the command, cut short", enchannel("run", "1", "--connection", str(path)))


def live_and_die(told: Told, wire: WireKernel, kernel: ec.Kernel) -> None:
    messages, errors = Seen(kernel.main), Seen(kernel.errors)

    def careless(message: object) -> None:
        raise ZeroDivisionError

    kernel.main.subscribe(careless)
    good = signed(KEY, *parts("stream", {"text": "heard"}))
    bad = [signed(b"another", *parts()), signed(b"", *parts()), [b"x"], good[:4], good, good]
    wire.send(ChannelName.IOPUB, *bad)
    kernel.run("1", timeout=DEADLINE)

    wire.answers.clear()
    with told.failing("a timeout", ec.RequestTimeout):
        kernel.run("1", timeout=0.05)
    with told.failing("an invalid message", ec.InvalidMessage):
        kernel.shell.on_next("no message")  # type: ignore[arg-type]
    told.add("alive", *everything_public(kernel))
    pending, links = Seen(kernel.execute("1")), Seen(kernel.link)
    wire.next_request("execute_request")
    wire.die()
    pending.all()
    links.until(lambda states: states[-1:] == ["lost"])
    with told.failing("a kernel that died", ec.EnchannelError):
        kernel.run("1")
    told.add("messages", *messages.items)
    told.add("errors", *errors.items, pending.error)
    told.add("dead", *everything_public(kernel))
    assert {type(error) for error in errors.items} >= {
        ec.InvalidSignature,
        ec.MalformedFrame,
        ec.ReplayedFrame,
        ec.SubscriberRaised,
    }


@pytest.mark.kernel
def test_keys_of_a_kernel_that_was_launched_are_shown_nowhere(
    log: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with ec.launch(transport="tcp", encryption="required") as kernel:
        path = enchannel_zmq.find_connection_file(kernel.id)
        info = enchannel_zmq.read_connection_file(path)
        told = Told(info.key.reveal(), info.curve_secretkey.reveal())
        assert all(told.secrets)
        told.add("alive", *everything_public(kernel))
        kernel.run("1", timeout=DEADLINE)
        with told.failing("a timeout", ec.RequestTimeout):
            kernel.run("import time; time.sleep(600)", timeout=1.0)
        settle(kernel)
        with told.failing("a death", ec.KernelDied):
            kernel.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", timeout=DEADLINE)
        told.add("errors", *Seen(kernel.errors).items)
        ec.wait(kernel.restart(), timeout=DEADLINE)
        told.add("restarted", *everything_public(kernel), kernel.run("6 * 7", timeout=DEADLINE))
    with told.failing("a launch", ec.LaunchFailed):
        ec.launch(env={"PYTHONPATH": str(path.parent)}, cwd=path.parent / "nowhere", timeout=0.5)
    told.add("the log", *log.messages, log.text)
    told.add("the log", *(vars(record) for record in log.records))
    told.add("the terminal", *capfd.readouterr())
    assert log.records
    assert told.leaks() == []
