"""Rules 17 to 20: beats, errors, secrets, and the rule over a process."""

from __future__ import annotations

import logging
import traceback

import pytest

import enchannel as ec
from enchannel import ChannelName
from enchannel.abc import ChannelPair
from enchannel.errors import ConnectionFailed, EnchannelError
from enchannel.testing._checks import demand, given, is_lost, open_in_vain, said, soon
from enchannel.testing._client import Client, from_clients
from enchannel.testing._collector import Collector
from enchannel.testing._fake_kernel import FakeKernel
from enchannel.testing._rig import Rig

__all__ = ["Safety"]

BEATS = [b"ping", b"", b"\0\xff" * 100]
HEARTBEAT, IOPUB, SHELL = ChannelName.HEARTBEAT, ChannelName.IOPUB, ChannelName.SHELL
NONSENSE = (
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
    """What comes out of a backend, and what must not."""

    def test_b17_a_beat_comes_back_as_it_was(self, rig: Rig) -> None:
        with Client(rig) as client:
            pair, heard = _heart(client)
            for number, beat in enumerate(BEATS, 1):
                pair.outgoing.on_next(beat)
                heard.wait_for_count(number)
            assert heard.items == BEATS

    def test_b17_it_is_the_kernel_that_beats(self, rig: Rig) -> None:
        demand(rig, "pause_reading", "resume_reading")
        with Client(rig) as client:
            pair, heard = _heart(client)
            rig.pause_reading()
            try:
                pair.outgoing.on_next(b"ping")
                # a rule about what does not come: long enough for who is wrong to be so
                with pytest.raises(AssertionError):
                    heard.wait_for_count(1, within=0.2)
            finally:
                rig.resume_reading()
            heard.wait_for_count(1)

    def test_b18_whatever_the_target_only_our_errors_come_out(self, rig: Rig) -> None:
        scheme = str(rig.target).partition(":")[0]
        for nonsense in (*NONSENSE, f"{scheme}:", f"{scheme}://[", f"{scheme}://\u2100:1"):
            with pytest.raises(EnchannelError):
                open_in_vain(rig, nonsense)

    def test_b19_no_secret_is_in_any_text(
        self,
        rig: Rig,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        secrets = given(rig, "secrets")
        caplog.set_level(logging.DEBUG)
        texts: list[object] = [rig.backend]
        with Client(rig) as client:
            texts += [client.link, *client.link.pairs.items()]
            client.hears(said(rig, IOPUB, client))
            if "garbage" not in rig.unsupported:
                for garble in rig.garbage.values():
                    garble(IOPUB)
                client.hears(said(rig, IOPUB, client))
            if "disconnect" not in rig.unsupported:
                rig.disconnect()
                client.status.wait_until(is_lost(client))
            texts += [*client.status.items, *client.heard[IOPUB].items]
        try:
            client.say(from_clients(SHELL))
        except EnchannelError as error:
            texts.append(error)
        if "unreachable_target" not in rig.unsupported:
            with pytest.raises(ConnectionFailed) as failed:
                open_in_vain(rig, rig.unreachable_target)
            texts.append(failed.value)
        seen = "\n".join([caplog.text, *capfd.readouterr(), *map(_everything_in, texts)])
        assert not [secret for secret in secrets if secret in seen]

    def test_b20_a_lifecycle_tells_also_who_comes_late(self, rig: Rig) -> None:
        if "on_message" not in rig.unsupported:
            FakeKernel(rig)
        with Client(rig) as client:
            lifecycle = client.link.lifecycle
            if lifecycle is None:
                pytest.skip("it declares that it has no lifecycle")
            for act in (lifecycle.interrupt, lifecycle.restart):
                if (done := soon(act)) is not None:
                    assert Collector(done).wait_for_end() == [None]
                    assert Collector(done).wait_for_end() == [None]
            (asked,) = client.say(ec.kernel_info_request())
            client.heard[SHELL].wait_for(
                lambda message: message.parent_header.msg_id == asked.header.msg_id
            )
            ended = soon(lifecycle.shutdown)
            assert Collector(ended).wait_for_end() == [None]
            assert Collector(ended).wait_for_end() == [None]
            soon(lifecycle.release)


def _heart(client: Client) -> tuple[ChannelPair[bytes], Collector[bytes]]:
    if HEARTBEAT not in client.link.pairs:
        pytest.skip("it declares that it has no heartbeat")
    return client.pair(HEARTBEAT), client.heard[HEARTBEAT]


def _everything_in(thing: object) -> str:
    """All that can be seen of it; of an error, also what it came from."""
    chain = traceback.format_exception(thing) if isinstance(thing, BaseException) else []
    return "\n".join([repr(thing), str(thing), *chain])
