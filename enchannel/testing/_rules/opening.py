"""Rules 1 to 3: opening a link."""

from __future__ import annotations

import pytest

from enchannel import AnyMessage, ChannelName
from enchannel.errors import ConnectionFailed
from enchannel.testing._checks import Resources, require, require_value, send_from_kernel, try_open
from enchannel.testing._client import Client, ids
from enchannel.testing._rig import Rig

__all__ = ["Opening"]

MANY, SOME = 5_000, 100


class Opening:
    """Tests of links that open, and of links that cannot."""

    def test_b01_messages_after_open_are_kept(self, rig: Rig) -> None:
        with Client(rig, subscribe=False) as client:
            messages: dict[ChannelName, list[AnyMessage]] = {
                name: send_from_kernel(
                    rig, name, client, MANY if name is ChannelName.IOPUB else SOME
                )
                for name in client.channels
            }
            client.subscribe()
            for of_one_channel in messages.values():
                assert ids(client.wait_for(of_one_channel)) == ids(of_one_channel)

    def test_b02_failed_open_leaves_nothing(self, rig: Rig) -> None:
        target = require_value(rig, "unreachable_target")
        with pytest.raises(ConnectionFailed):
            try_open(rig, target)
        before = Resources()
        for _ in range(10):
            with pytest.raises(ConnectionFailed):
                try_open(rig, target, timeout=0.1)
        before.assert_released()

    def test_b02_open_of_silent_kernel_keeps_timeout(self, rig: Rig) -> None:
        require(rig, "pause_reading", "resume_reading")
        rig.pause_reading()
        try:
            # It succeeds if the transport needs no answer.
            try_open(rig, rig.target)
        except ConnectionFailed:
            pass
        finally:
            rig.resume_reading()

    def test_b03_pairs_match_the_capabilities(self, rig: Rig) -> None:
        with Client(rig) as client:
            link = client.link
            assert set(link.pairs) == set(link.capabilities.channels)
            assert {ChannelName.SHELL, ChannelName.IOPUB} <= set(link.pairs)
