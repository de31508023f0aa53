"""Rules 11 to 13: losing the connection, reconnecting, and giving up."""

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
    collect_messages,
    connect_kernel,
    loss_reported,
    reconnect_reported,
    require,
    send_from_kernel,
    wait_for_arrival,
)
from enchannel.testing._client import Client, client_message, ids, select
from enchannel.testing._collector import Collector
from enchannel.testing._fake_kernel import FakeKernel, echo
from enchannel.testing._rig import Rig

__all__ = ["Loss"]


def _ignore_code(request: AnyMessage) -> Iterable[AnyMessage]:
    return () if request.header.msg_type == "execute_request" else echo(request)


class Loss:
    """Tests of a connection that breaks."""

    def test_b11_loss_and_reconnect_are_reported(self, rig: Rig) -> None:
        require(rig, "disconnect", "reconnect")
        remote = collect_messages(rig)
        with Client(rig) as client:
            rig.disconnect()
            client.events.wait_until(loss_reported(client))
            rig.reconnect()
            client.events.wait_until(reconnect_reported)
            assert not client.events.ended
            for name in client.channels:
                messages = send_from_kernel(rig, name, client)
                assert ids(client.wait_for(messages)) == ids(messages)
            for name in client.sendable_channels:
                ours = client.send(client_message(name))
                assert ids(wait_for_arrival(remote, ours)) == ids(ours)

    def test_b11_lost_request_fails(self, rig: Rig) -> None:
        require(rig, "disconnect", "reconnect")
        with Client(rig) as client:
            can_resume = client.link.capabilities.can_resume
        FakeKernel(rig, _ignore_code)
        with connect_kernel(rig) as kernel:
            request: Collector[AnyMessage] = Collector(kernel.execute("1"))
            request.wait_for_count(1)
            rig.disconnect()
            if can_resume:
                rig.reconnect()
            assert isinstance(request.wait_for_error(), (ConnectionLost, KernelDied))

    def test_b11_resumed_link_delivers_replies(self, rig: Rig) -> None:
        require(rig, "disconnect", "reconnect")
        remote = collect_messages(rig)
        with Client(rig) as client:
            if not client.link.capabilities.can_resume:
                pytest.skip("can_resume is False: a loss ends requests in flight")
            requests = client.send(client_message(ChannelName.SHELL))
            wait_for_arrival(remote, requests)
            rig.disconnect()
            client.events.wait_until(loss_reported(client))
            between = send_from_kernel(rig, ChannelName.SHELL, client)
            rig.reconnect()
            client.events.wait_until(reconnect_reported)
            messages = send_from_kernel(rig, ChannelName.SHELL, client)
            assert ids(client.wait_for(messages)) == ids(messages)
            if not select(between, client.received[ChannelName.SHELL].items):
                client.events.wait_for(lambda event: isinstance(event, MessagesMayBeMissing))
            assert not any(isinstance(event, ConnectionLost) for event in client.events.items)

    def test_b11_repeated_reconnects_leak_nothing(self, rig: Rig) -> None:
        require(rig, "disconnect", "reconnect")
        Client(rig).close()
        before = Resources()
        with Client(rig) as client:
            for _ in range(10):
                client.events.items.clear()
                rig.disconnect()
                client.events.wait_until(loss_reported(client))
                rig.reconnect()
                client.events.wait_until(reconnect_reported)
        before.assert_released()

    def test_b12_sending_on_lost_link_raises(self, rig: Rig) -> None:
        require(rig, "disconnect", "reconnect")
        remote = collect_messages(rig)
        with Client(rig) as client:
            rig.disconnect()
            client.events.wait_until(loss_reported(client))
            lost = [client_message(name) for name in client.sendable_channels]
            for message in lost:
                with pytest.raises((ConnectionLost, KernelDied)):
                    client.send(message)
            rig.reconnect()
            client.events.wait_until(reconnect_reported)
            for name in client.sendable_channels:
                assert wait_for_arrival(remote, client.send(client_message(name)))
            assert not select(lost, remote.items)

    def test_b13_given_up_link_fails_once(self, rig: Rig) -> None:
        require(rig, "disconnect_permanently")
        with Client(rig, options=rig.give_up_options) as client:
            rig.disconnect_permanently()
            assert isinstance(client.events.wait_for_error(), EnchannelError)
            assert not client.events.completed
            for name in client.sendable_channels:
                with pytest.raises(EnchannelError):
                    client.send(client_message(name))

    def test_b13_given_up_link_fails_every_channel(self, rig: Rig) -> None:
        require(rig, "disconnect_permanently")
        with connect_kernel(rig, **rig.give_up_options) as kernel:
            channels = [kernel.shell, kernel.iopub, kernel.main]
            early: list[Collector[AnyMessage]] = [Collector(channel) for channel in channels]
            rig.disconnect_permanently()
            assert all(isinstance(seen.wait_for_error(), EnchannelError) for seen in early)
            late: list[Collector[AnyMessage]] = [Collector(channel) for channel in channels]
            assert all(isinstance(seen.wait_for_error(), EnchannelError) for seen in late)
