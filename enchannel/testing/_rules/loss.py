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
from enchannel.testing._fake_kernel import FakeKernel, echo
from enchannel.testing._rig import Rig
from enchannel.testing._seen import Seen

__all__ = ["Loss"]


def _forgets_what_to_run(request: AnyMessage) -> Iterable[AnyMessage]:
    return () if request.header.msg_type == "execute_request" else echo(request)


class Loss:
    """What is told, what can be said, and what is left."""

    def test_b11_a_lost_link_is_told_and_so_is_its_return(self, rig: Rig) -> None:
        demand(rig, "cut", "restore")
        far = listening(rig)
        with Client(rig) as client:
            rig.cut()
            client.status.until(is_lost(client))
            rig.restore()
            client.status.until(is_back)
            assert not client.status.ended
            for name in client.channels:
                messages = said(rig, name, client)
                assert ids(client.hears(messages)) == ids(messages)
            for name in client.speaks_on:
                ours = client.say(from_clients(name))
                assert ids(arrived(far, ours)) == ids(ours)

    def test_b11_what_was_asked_ends_with_the_link(self, rig: Rig) -> None:
        demand(rig, "cut", "restore")
        with Client(rig) as client:
            can_resume = client.link.capabilities.can_resume
        FakeKernel(rig, _forgets_what_to_run)
        with connected(rig) as kernel:
            asked: Seen[AnyMessage] = Seen(kernel.execute("1"))
            asked.first(1)
            rig.cut()
            if can_resume:
                rig.restore()
            assert isinstance(asked.failure(), (ConnectionLost, KernelDied))

    def test_b11_what_was_asked_is_answered_by_a_link_that_resumes(self, rig: Rig) -> None:
        demand(rig, "cut", "restore")
        far = listening(rig)
        with Client(rig) as client:
            if not client.link.capabilities.can_resume:
                pytest.skip("it declares that what is lost ends what was asked")
            asked = client.say(from_clients(ChannelName.SHELL))
            arrived(far, asked)
            rig.cut()
            client.status.until(is_lost(client))
            between = said(rig, ChannelName.SHELL, client)
            rig.restore()
            client.status.until(is_back)
            messages = said(rig, ChannelName.SHELL, client)
            assert ids(client.hears(messages)) == ids(messages)
            if not of(between, client.heard[ChannelName.SHELL].items):
                client.status.until_any(lambda told: isinstance(told, MessagesMayBeMissing))
            assert not any(isinstance(told, ConnectionLost) for told in client.status.items)

    def test_b11_a_link_that_comes_back_again_and_again_leaves_nothing(self, rig: Rig) -> None:
        demand(rig, "cut", "restore")
        Client(rig).close()
        before = Resources()
        with Client(rig) as client:
            for _ in range(10):
                client.status.items.clear()
                rig.cut()
                client.status.until(is_lost(client))
                rig.restore()
                client.status.until(is_back)
        before.demand_back()

    def test_b12_while_a_link_is_lost_nothing_can_be_said(self, rig: Rig) -> None:
        demand(rig, "cut", "restore")
        far = listening(rig)
        with Client(rig) as client:
            rig.cut()
            client.status.until(is_lost(client))
            lost = [from_clients(name) for name in client.speaks_on]
            for message in lost:
                with pytest.raises((ConnectionLost, KernelDied)):
                    client.say(message)
            rig.restore()
            client.status.until(is_back)
            for name in client.speaks_on:
                assert arrived(far, client.say(from_clients(name)))
            assert not of(lost, far.items)

    def test_b13_a_link_that_is_given_up_fails_once(self, rig: Rig) -> None:
        demand(rig, "give_up")
        with Client(rig, options=rig.impatient) as client:
            rig.give_up()
            assert isinstance(client.status.failure(), EnchannelError)
            assert not client.status.completed
            for name in client.speaks_on:
                with pytest.raises(EnchannelError):
                    client.say(from_clients(name))

    def test_b13_a_link_that_is_given_up_ends_every_channel_with_the_error(self, rig: Rig) -> None:
        demand(rig, "give_up")
        with connected(rig, **rig.impatient) as kernel:
            channels = [kernel.shell, kernel.iopub, kernel.main]
            early: list[Seen[AnyMessage]] = [Seen(channel) for channel in channels]
            rig.give_up()
            assert all(isinstance(seen.failure(), EnchannelError) for seen in early)
            late: list[Seen[AnyMessage]] = [Seen(channel) for channel in channels]
            assert all(isinstance(seen.failure(), EnchannelError) for seen in late)
