"""Rules 1 to 3: ``open``."""

from __future__ import annotations

import pytest

from enchannel import AnyMessage, ChannelName
from enchannel.errors import ConnectionFailed
from enchannel.testing._checks import Resources, demand, given, open_in_vain, said
from enchannel.testing._client import Client, ids
from enchannel.testing._rig import Rig

__all__ = ["Opening"]

MANY, SOME = 5_000, 100


class Opening:
    """What a link is when it is there, and what is left when it is not."""

    def test_b01_nothing_said_after_open_is_lost(self, rig: Rig) -> None:
        with Client(rig, listens=False) as client:
            messages: dict[ChannelName, list[AnyMessage]] = {
                name: said(rig, name, client, MANY if name is ChannelName.IOPUB else SOME)
                for name in client.channels
            }
            client.listen()
            for of_one_channel in messages.values():
                assert ids(client.hears(of_one_channel)) == ids(of_one_channel)

    def test_b02_open_fails_where_nobody_is_and_leaves_nothing(self, rig: Rig) -> None:
        nowhere = given(rig, "unreachable_target")
        with pytest.raises(ConnectionFailed):
            open_in_vain(rig, nowhere)
        before = Resources()
        for _ in range(10):
            with pytest.raises(ConnectionFailed):
                open_in_vain(rig, nowhere, timeout=0.1)
        before.demand_back()

    def test_b02_open_has_its_time_and_no_more_where_somebody_is_silent(self, rig: Rig) -> None:
        demand(rig, "pause_reading", "resume_reading")
        rig.pause_reading()
        try:
            open_in_vain(rig, rig.target)  # or not in vain, where no answer is needed
        except ConnectionFailed:
            pass
        finally:
            rig.resume_reading()

    def test_b03_pairs_are_the_channels_that_are_declared(self, rig: Rig) -> None:
        with Client(rig) as client:
            link = client.link
            assert set(link.pairs) == set(link.capabilities.channels)
            assert (link.lifecycle is not None) == link.capabilities.lifecycle
            assert {ChannelName.SHELL, ChannelName.IOPUB} <= set(link.pairs)
