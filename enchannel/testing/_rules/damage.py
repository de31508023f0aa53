"""Rules 9 and 10: what is no message, and what may not be one."""

from __future__ import annotations

import re

import pytest

import enchannel as ec
from enchannel import ChannelName
from enchannel.abc import LinkEvent
from enchannel.errors import InvalidMessage, RejectedFrame
from enchannel.testing._checks import arrived, demand, listening, said
from enchannel.testing._client import Client, from_clients, ids
from enchannel.testing._rig import Rig

__all__ = ["Damage"]


class Damage:
    """What cannot be read, and what cannot be sent."""

    def test_b09_what_cannot_be_read_is_reported_and_dropped(self, rig: Rig) -> None:
        demand(rig, "garbage")
        with Client(rig) as client:
            for name in client.channels:
                for kind, garble in rig.garbage.items():
                    heard = client.heard[name]
                    before, reports = len(heard.items), _rejections(client.status.items)
                    garble(name)
                    good = said(rig, name, client)
                    assert ids(client.hears(good)) == ids(good)
                    client.status.wait_until(lambda told, had=reports: _rejections(told) > had)  # type: ignore[misc]
                    strange = [
                        message
                        for message in heard.items[before:]
                        if message not in good and message.header.msg_type != "status"
                    ]
                    # of the messages that a rig says twice, one is good
                    assert len(strange) <= 1, f"{kind} on {name} was heard: {strange}"
                    assert not strange or kind == rig.replayed, f"{kind} on {name} was heard"
            assert not client.status.ended

    def test_b10_a_message_over_the_limit_is_the_callers_error(self, rig: Rig) -> None:
        remote = listening(rig)
        with Client(rig) as client:
            limit = client.link.capabilities.max_sent
            if limit is None:
                pytest.skip("it declares no limit")
            for name in client.speaks_on:
                with pytest.raises(InvalidMessage) as refused:
                    client.say(from_clients(name, size=limit + 1))
                assert str(limit) in re.sub(r"[,_.\s]", "", str(refused.value)), (
                    "it names the limit"
                )
                good = client.say(from_clients(name))
                assert ids(arrived(remote, good)) == ids(good)

    def test_b10_buffers_that_cannot_be_sent_are_the_callers_error(self, rig: Rig) -> None:
        remote = listening(rig)
        with Client(rig) as client:
            if client.link.capabilities.buffers:
                pytest.skip("it declares that its messages may have buffers")
            with pytest.raises(InvalidMessage):
                client.say(ec.comm_msg("c", buffers=[b"x"]))
            good = client.say(from_clients(ChannelName.SHELL))
            assert ids(arrived(remote, good)) == ids(good)


def _rejections(told: list[LinkEvent]) -> int:
    return sum(isinstance(status, RejectedFrame) for status in told)
