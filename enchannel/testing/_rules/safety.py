"""Rules 17 to 20: heartbeats, errors, secrets, and the lifecycle."""

from __future__ import annotations

import logging
import traceback

import pytest

import enchannel as ec
from enchannel import ChannelName
from enchannel.abc import ChannelPair, OpenContext
from enchannel.errors import ConnectionFailed, EnchannelError
from enchannel.testing._checks import (
    call_in_time,
    loss_reported,
    require,
    require_value,
    send_from_kernel,
    try_open,
)
from enchannel.testing._client import Client, client_message
from enchannel.testing._collector import Collector
from enchannel.testing._fake_kernel import FakeKernel
from enchannel.testing._rig import Rig

__all__ = ["Safety"]

HEARTBEATS = [b"ping", b"", b"\0\xff" * 100]
HEARTBEAT, IOPUB, SHELL = ChannelName.HEARTBEAT, ChannelName.IOPUB, ChannelName.SHELL
INVALID_TARGETS = (
    17,
    None,
    "",
    "\0",
    "[",
    "x://[",
    "x://\u2100",
    object(),
    {"a": object()},
    ["x"],
    b"\xff",
)


class Safety:
    """Tests of heartbeats, errors, secrets and the lifecycle."""

    def test_b17_heartbeat_is_echoed_unchanged(self, rig: Rig) -> None:
        with Client(rig) as client:
            pair, echoed = _heartbeat(client)
            for number, beat in enumerate(HEARTBEATS, 1):
                pair.outgoing.on_next(beat)
                echoed.wait_for_count(number)
            assert echoed.items == HEARTBEATS

    def test_b17_stopped_kernel_has_no_heartbeat(self, rig: Rig) -> None:
        require(rig, "pause_reading", "resume_reading")
        with Client(rig) as client:
            pair, echoed = _heartbeat(client)
            rig.pause_reading()
            try:
                pair.outgoing.on_next(b"ping")
                # Nothing is to arrive: long enough for a backend that answers by itself.
                with pytest.raises(AssertionError):
                    echoed.wait_for_count(1, within=0.2)
            finally:
                rig.resume_reading()
            echoed.wait_for_count(1)

    def test_b18_invalid_targets_raise_translated_errors(self, rig: Rig) -> None:
        scheme = str(rig.target).partition(":")[0]
        context = OpenContext(session=ec.Session(), timeout=1.0)
        for target in (*INVALID_TARGETS, f"{scheme}:", f"{scheme}://[", f"{scheme}://\u2100:1"):
            with pytest.raises((EnchannelError, ValueError, TypeError)) as raised:
                try_open(rig, target)
            if not isinstance(raised.value, EnchannelError):
                # A check of the arguments raised it, not a call that failed because of them.
                _raise_unless_validated(rig, target, context, raised.value)

    def test_b19_no_secret_is_in_any_text(
        self,
        rig: Rig,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        secrets = require_value(rig, "secrets")
        caplog.set_level(logging.DEBUG)
        texts: list[object] = [rig.backend]
        with Client(rig) as client:
            texts += [client.link, *client.link.pairs.items()]
            client.wait_for(send_from_kernel(rig, IOPUB, client))
            if "garbage" not in rig.unsupported:
                for send_garbage in rig.garbage.values():
                    send_garbage(IOPUB)
                client.wait_for(send_from_kernel(rig, IOPUB, client))
            if "disconnect" not in rig.unsupported:
                rig.disconnect()
                client.events.wait_until(loss_reported(client))
            texts += [*client.events.items, *client.received[IOPUB].items]
        try:
            client.send(client_message(SHELL))
        except EnchannelError as error:
            texts.append(error)
        if "unreachable_target" not in rig.unsupported:
            with pytest.raises(ConnectionFailed) as failed:
                try_open(rig, rig.unreachable_target)
            texts.append(failed.value)
        seen = "\n".join([caplog.text, *capfd.readouterr(), *map(_texts_of, texts)])
        assert not [secret for secret in secrets if secret in seen], "a secret is in a text"

    def test_b20_lifecycle_replays_to_late_subscribers(self, rig: Rig) -> None:
        if "on_message" not in rig.unsupported:
            FakeKernel(rig)
        with Client(rig) as client:
            lifecycle = client.link.lifecycle
            if lifecycle is None:
                pytest.skip("the link has no lifecycle")
            for act in (lifecycle.interrupt, lifecycle.restart):
                if (done := call_in_time(act)) is not None:
                    assert Collector(done).wait_for_end() == [None]
                    assert Collector(done).wait_for_end() == [None]
            (request,) = client.send(ec.kernel_info_request())
            client.received[SHELL].wait_for(
                lambda message: message.parent_header.msg_id == request.header.msg_id
            )
            ended = call_in_time(lifecycle.shutdown)
            assert Collector(ended).wait_for_end() == [None]
            assert Collector(ended).wait_for_end() == [None]
            call_in_time(lifecycle.release)


def _heartbeat(client: Client) -> tuple[ChannelPair[bytes], Collector[bytes]]:
    if HEARTBEAT not in client.link.pairs:
        pytest.skip("the link has no heartbeat channel")
    return client.pair(HEARTBEAT), client.received[HEARTBEAT]


def _raise_unless_validated(
    rig: Rig, target: object, context: OpenContext, error: Exception
) -> None:
    checked: Exception | None = None
    try:
        rig.backend.validate_open(target, context, rig.options)
    except (ValueError, TypeError) as raised:
        checked = raised
    if type(checked) is not type(error):
        outcome = "accepted it" if checked is None else f"raised {type(checked).__name__}"
        pytest.fail(
            f"open raised {type(error).__name__} for the target {target!r} and validate_open {outcome}; "
            "implement validate_open so that it raises the same error"
        )


def _texts_of(thing: object) -> str:
    """Return all texts of an object; of an error, also its causes."""
    chain = traceback.format_exception(thing) if isinstance(thing, BaseException) else []
    return "\n".join([repr(thing), str(thing), *chain])
