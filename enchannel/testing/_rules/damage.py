"""Rules 9 and 10: malformed incoming frames, and messages that cannot be sent."""

from __future__ import annotations

import re

import pytest

import enchannel as ec
from enchannel import ChannelName
from enchannel.abc import LinkEvent
from enchannel.errors import InvalidMessage, RejectedFrame
from enchannel.testing._checks import collect_messages, require, send_from_kernel, wait_for_arrival
from enchannel.testing._client import Client, client_message, ids
from enchannel.testing._rig import Rig

__all__ = ["Damage"]


class Damage:
    """Tests of rejected frames and rejected messages."""

    def test_b09_garbage_is_reported_and_dropped(self, rig: Rig) -> None:
        require(rig, "garbage")
        with Client(rig) as client:
            for name in client.channels:
                for kind, send_garbage in rig.garbage.items():
                    collector = client.received[name]
                    before, reports = len(collector.items), _rejections(client.events.items)
                    send_garbage(name)
                    good = send_from_kernel(rig, name, client)
                    assert ids(client.wait_for(good)) == ids(good)
                    client.events.wait_until(lambda events, had=reports: _rejections(events) > had)  # type: ignore[misc]
                    strange = [
                        message
                        for message in collector.items[before:]
                        if message not in good and message.header.msg_type != "status"
                    ]
                    # Of a valid message that a rig sends twice, one is received.
                    assert len(strange) <= 1, (
                        f"garbage {kind!r} on {name.value} was received as {strange}"
                    )
                    assert not strange or kind == rig.replayed, (
                        f"garbage {kind!r} on {name.value} was received as {strange}"
                    )
            assert not client.events.ended

    def test_b10_too_large_message_raises(self, rig: Rig) -> None:
        remote = collect_messages(rig)
        with Client(rig) as client:
            limit = client.link.capabilities.max_sent
            if limit is None:
                pytest.skip("max_sent is None: the link has no size limit")
            for name in client.sendable_channels:
                with pytest.raises(InvalidMessage) as refused:
                    client.send(client_message(name, size=limit + 1))
                text = str(refused.value)
                assert str(limit) in re.sub(r"[,_.\s]", "", text), f"the limit is not in {text!r}"
                good = client.send(client_message(name))
                assert ids(wait_for_arrival(remote, good)) == ids(good)

    def test_b10_unsupported_buffers_raise(self, rig: Rig) -> None:
        remote = collect_messages(rig)
        with Client(rig) as client:
            if client.link.capabilities.buffers:
                pytest.skip("the link can send buffers")
            with pytest.raises(InvalidMessage):
                client.send(ec.comm_msg("c", buffers=[b"x"]))
            good = client.send(client_message(ChannelName.SHELL))
            assert ids(wait_for_arrival(remote, good)) == ids(good)


def _rejections(events: list[LinkEvent]) -> int:
    return sum(isinstance(event, RejectedFrame) for event in events)
