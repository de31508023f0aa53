"""Rules 11 to 13: a link that breaks."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from enchannel import AnyMessage, ChannelName
from enchannel.errors import (
    ConnectionLost,
    EnchannelError,
    KernelDied,
    MessagesMayBeMissing,
)
from enchannel.testing._checks import (
    Resources,
    arrived,
    connected,
    demand,
    is_back,
    is_lost,
    listening,
    said,
)
from enchannel.testing._client import Client, from_clients, ids, of
from enchannel.testing._collector import Collector
from enchannel.testing._fake_kernel import FakeKernel, echo
from enchannel.testing._rig import Rig

__all__ = ["Loss"]


def _forgets_what_to_run(request: AnyMessage) -> Iterable[AnyMessage]:
    return () if request.header.msg_type == "execute_request" else echo(request)


class Loss:
    """What is told, what can be said, and what is left."""

    def test_b11_a_lost_link_is_told_and_so_is_its_return(self, rig: Rig) -> None:
        demand(rig, "disconnect", "reconnect")
        remote = listening(rig)
        with Client(rig) as client:
            rig.disconnect()
            client.status.wait_until(is_lost(client))
            rig.reconnect()
            client.status.wait_until(is_back)
            assert not client.status.ended
            for name in client.channels:
                messages = said(rig, name, client)
                assert ids(client.hears(messages)) == ids(messages)
            for name in client.speaks_on:
                ours = client.say(from_clients(name))
                assert ids(arrived(remote, ours)) == ids(ours)

    def test_b11_what_was_asked_ends_with_the_link(self, rig: Rig) -> None:
        demand(rig, "disconnect", "reconnect")
        with Client(rig) as client:
            can_resume = client.link.capabilities.can_resume
        FakeKernel(rig, _forgets_what_to_run)
        with connected(rig) as kernel:
            asked: Collector[AnyMessage] = Collector(kernel.execute("1"))
            asked.wait_for_count(1)
            rig.disconnect()
            if can_resume:
                rig.reconnect()
            assert isinstance(asked.wait_for_error(), (ConnectionLost, KernelDied))

    def test_b11_what_was_asked_is_answered_by_a_link_that_resumes(self, rig: Rig) -> None:
        demand(rig, "disconnect", "reconnect")
        remote = listening(rig)
        with Client(rig) as client:
            if not client.link.capabilities.can_resume:
                pytest.skip("it declares that what is lost ends what was asked")
            asked = client.say(from_clients(ChannelName.SHELL))
            arrived(remote, asked)
            rig.disconnect()
            client.status.wait_until(is_lost(client))
            between = said(rig, ChannelName.SHELL, client)
            rig.reconnect()
            client.status.wait_until(is_back)
            messages = said(rig, ChannelName.SHELL, client)
            assert ids(client.hears(messages)) == ids(messages)
            if not of(between, client.heard[ChannelName.SHELL].items):
                client.status.wait_for(lambda told: isinstance(told, MessagesMayBeMissing))
            assert not any(isinstance(told, ConnectionLost) for told in client.status.items)

    def test_b11_a_link_that_comes_back_again_and_again_leaves_nothing(self, rig: Rig) -> None:
        demand(rig, "disconnect", "reconnect")
        Client(rig).close()
        before = Resources()
        with Client(rig) as client:
            for _ in range(10):
                client.status.items.clear()
                rig.disconnect()
                client.status.wait_until(is_lost(client))
                rig.reconnect()
                client.status.wait_until(is_back)
        before.demand_back()

    def test_b12_while_a_link_is_lost_nothing_can_be_said(self, rig: Rig) -> None:
        demand(rig, "disconnect", "reconnect")
        remote = listening(rig)
        with Client(rig) as client:
            rig.disconnect()
            client.status.wait_until(is_lost(client))
            lost = [from_clients(name) for name in client.speaks_on]
            for message in lost:
                with pytest.raises((ConnectionLost, KernelDied)):
                    client.say(message)
            rig.reconnect()
            client.status.wait_until(is_back)
            for name in client.speaks_on:
                assert arrived(remote, client.say(from_clients(name)))
            assert not of(lost, remote.items)

    def test_b13_a_link_that_is_given_up_fails_once(self, rig: Rig) -> None:
        demand(rig, "disconnect_permanently")
        with Client(rig, options=rig.give_up_options) as client:
            rig.disconnect_permanently()
            assert isinstance(client.status.wait_for_error(), EnchannelError)
            assert not client.status.completed
            for name in client.speaks_on:
                with pytest.raises(EnchannelError):
                    client.say(from_clients(name))

    def test_b13_a_link_that_is_given_up_ends_every_channel_with_the_error(self, rig: Rig) -> None:
        demand(rig, "disconnect_permanently")
        with connected(rig, **rig.give_up_options) as kernel:
            channels = [kernel.shell, kernel.iopub, kernel.main]
            early: list[Collector[AnyMessage]] = [Collector(channel) for channel in channels]
            rig.disconnect_permanently()
            assert all(isinstance(seen.wait_for_error(), EnchannelError) for seen in early)
            late: list[Collector[AnyMessage]] = [Collector(channel) for channel in channels]
            assert all(isinstance(seen.wait_for_error(), EnchannelError) for seen in late)
