"""Rules 14 to 16: closing a link, and links beside it."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from enchannel import AnyMessage, ChannelName, LinkState
from enchannel.errors import ChannelClosed, EnchannelError
from enchannel.testing._checks import (
    Resources,
    call_concurrently,
    call_in_time,
    collect_messages,
    connect_kernel,
    send_from_kernel,
    wait_for_arrival,
)
from enchannel.testing._client import Client, client_message, ids, kernel_message, select
from enchannel.testing._collector import Collector
from enchannel.testing._rig import Rig

__all__ = ["Closing"]

IOPUB, SHELL = ChannelName.IOPUB, ChannelName.SHELL


class Closing:
    """Tests of closing, and of independent links."""

    def test_b14_close_completes_every_channel(self, rig: Rig) -> None:
        with connect_kernel(rig) as kernel:
            channels = [kernel.shell, kernel.iopub, kernel.main]
            early: list[Collector[AnyMessage]] = [Collector(channel) for channel in channels]
        late: list[Collector[AnyMessage]] = [Collector(channel) for channel in channels]
        for seen in early + late:
            seen.wait_for_end()
            assert seen.completed

    def test_b14_close_is_idempotent_and_thread_safe(self, rig: Rig) -> None:
        Client(rig).close()
        before = Resources()
        for _ in range(10):
            client = Client(rig)
            call_concurrently([client.link.close] * 4)
            client.close()
            client.events.wait_for_end()
            assert client.events.completed
        before.assert_released()

    def test_b14_observer_of_messages_may_close(self, rig: Rig) -> None:
        for name in Client(rig).closed().channels:
            client = Client(rig, subscribe=False)
            client.link.events.subscribe(client.events)
            client.pair(name).incoming.subscribe(partial(_close, client))
            call_in_time(partial(rig.send, kernel_message(name, 0, client)))
            client.events.wait_for_end()
            assert client.events.completed

    def test_b14_observer_of_loss_may_close(self, rig: Rig) -> None:
        if "disconnect" in rig.unsupported:
            pytest.skip(rig.unsupported["disconnect"])
        client = Client(rig, subscribe=False)
        events: Collector[object] = Collector()

        def close(event: object) -> None:
            events.on_next(event)
            if event is LinkState.LOST:
                client.link.close()

        client.link.events.subscribe(close, events.on_error, events.on_completed)
        call_in_time(rig.disconnect)
        events.wait_for_end()
        assert events.completed
        assert events.items[-1] is LinkState.LOST, (
            f"events after close: {events.items[events.items.index(LinkState.LOST) + 1 :]}"
        )

    def test_b14_closed_link_emits_nothing(self, rig: Rig) -> None:
        for flood in (False, True):
            client = Client(rig)
            with Client(rig) as other:
                messages = [kernel_message(IOPUB, number, client) for number in range(2_000)]
                if flood:
                    sending = threading.Thread(target=_send_all, args=(rig, messages), daemon=True)
                    sending.start()
                    client.received[IOPUB].wait_for_count(10)
                client.close()
                counts = {name: len(seen.items) for name, seen in client.received.items()}
                event_count = len(client.events.items)
                for name in other.channels:
                    rig.send(kernel_message(name, 0, client))
                    other.wait_for(send_from_kernel(rig, name, other))
                if flood:
                    other.wait_for(messages)
                assert {name: len(seen.items) for name, seen in client.received.items()} == counts
                assert len(client.events.items) == event_count
                assert client.events.completed

    def test_b14_messages_before_close_arrive(self, rig: Rig) -> None:
        remote = collect_messages(rig)
        client = Client(rig)
        last = client.send(*(client_message(name) for name in client.sendable_channels))
        client.close()
        for message in last:
            assert wait_for_arrival(remote, [message])

    def test_b15_sending_on_closed_link_raises(self, rig: Rig) -> None:
        client = Client(rig).closed()
        for name, pair in client.link.pairs.items():
            item = b"ping" if name is ChannelName.HEARTBEAT else client_message(name)
            with pytest.raises(ChannelClosed):
                pair.outgoing.on_next(item)

    def test_b15_sending_during_close_raises(self, rig: Rig) -> None:
        client = Client(rig)

        def send_until_refused() -> Exception:
            while True:
                try:
                    client.send(client_message(SHELL))
                except Exception as error:
                    return error

        refused, _ = call_concurrently([send_until_refused, client.close])
        assert isinstance(refused, EnchannelError)

    def test_b16_replies_are_routed_to_their_link(self, rig: Rig) -> None:
        with Client(rig) as one, Client(rig) as other:
            for name in one.sendable_channels:
                to_one, to_other = (
                    send_from_kernel(rig, name, one),
                    send_from_kernel(rig, name, other),
                )
                assert ids(one.wait_for(to_one)) == ids(to_one)
                assert ids(other.wait_for(to_other)) == ids(to_other)
                assert not select(to_one, other.received[name].items)
                assert not select(to_other, one.received[name].items)
            to_all = send_from_kernel(rig, IOPUB, one)
            assert ids(one.wait_for(to_all)) == ids(other.wait_for(to_all)) == ids(to_all)

    def test_b16_close_does_not_affect_other_links(self, rig: Rig) -> None:
        remote = collect_messages(rig)
        older = Client(rig)
        with Client(rig) as stays:
            older.close()
            Client(rig).close()
            for name in stays.channels:
                messages = send_from_kernel(rig, name, stays)
                assert ids(stays.wait_for(messages)) == ids(messages)
            ours = stays.send(client_message(SHELL))
            assert ids(wait_for_arrival(remote, ours)) == ids(ours)
            assert not stays.events.ended


def _close(client: Client, _: object) -> None:
    client.link.close()


def _send_all(rig: Rig, messages: list[AnyMessage]) -> None:
    for message in messages:
        rig.send(message)
