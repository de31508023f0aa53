"""Rules 14 to 16: the end of a link, and the links beside it."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from enchannel import AnyMessage, ChannelName, LinkState
from enchannel.errors import ChannelClosed, EnchannelError
from enchannel.testing._checks import (
    Resources,
    all_at_once,
    arrived,
    connected,
    listening,
    said,
    soon,
)
from enchannel.testing._client import Client, from_clients, from_kernel, ids, of
from enchannel.testing._collector import Collector
from enchannel.testing._rig import Rig

__all__ = ["Closing"]

IOPUB, SHELL = ChannelName.IOPUB, ChannelName.SHELL


class Closing:
    """Who may close, when, and what is after it."""

    def test_b14_close_completes_every_channel(self, rig: Rig) -> None:
        with connected(rig) as kernel:
            channels = [kernel.shell, kernel.iopub, kernel.main]
            early: list[Collector[AnyMessage]] = [Collector(channel) for channel in channels]
        late: list[Collector[AnyMessage]] = [Collector(channel) for channel in channels]
        for seen in early + late:
            seen.wait_for_end()
            assert seen.completed

    def test_b14_close_may_be_called_twice_and_from_any_thread(self, rig: Rig) -> None:
        Client(rig).close()
        before = Resources()
        for _ in range(10):
            client = Client(rig)
            all_at_once([client.link.close] * 4)
            client.close()
            client.status.wait_for_end()
            assert client.status.completed
        before.demand_back()

    def test_b14_close_may_be_called_by_who_is_told_something(self, rig: Rig) -> None:
        for name in Client(rig).closed().channels:
            client = Client(rig, listens=False)
            client.link.events.subscribe(client.status)
            client.pair(name).incoming.subscribe(partial(_close, client))
            soon(partial(rig.send, from_kernel(name, 0, client)))
            client.status.wait_for_end()
            assert client.status.completed

    def test_b14_close_may_be_called_by_who_is_told_that_it_is_lost(self, rig: Rig) -> None:
        if "disconnect" in rig.unsupported:
            pytest.skip(rig.unsupported["disconnect"])
        client = Client(rig, listens=False)
        told: Collector[object] = Collector()

        def close(status: object) -> None:
            told.on_next(status)
            if status is LinkState.LOST:
                client.link.close()

        client.link.events.subscribe(close, told.on_error, told.on_completed)
        soon(rig.disconnect)
        told.wait_for_end()
        assert told.completed
        assert told.items[-1] is LinkState.LOST, "it tells more after close"

    def test_b14_after_close_nothing_is_heard(self, rig: Rig) -> None:
        for flood in (False, True):
            client = Client(rig)
            with Client(rig) as witness:
                messages = [from_kernel(IOPUB, number, client) for number in range(2_000)]
                if flood:
                    saying = threading.Thread(target=_say_all, args=(rig, messages), daemon=True)
                    saying.start()
                    client.heard[IOPUB].wait_for_count(10)
                client.close()
                heard = {name: len(seen.items) for name, seen in client.heard.items()}
                told = len(client.status.items)
                for name in witness.channels:
                    rig.send(from_kernel(name, 0, client))
                    witness.hears(said(rig, name, witness))
                if flood:
                    witness.hears(messages)
                assert {name: len(seen.items) for name, seen in client.heard.items()} == heard
                assert len(client.status.items) == told
                assert client.status.completed

    def test_b14_what_was_said_before_close_is_heard(self, rig: Rig) -> None:
        remote = listening(rig)
        client = Client(rig)
        last = client.say(*(from_clients(name) for name in client.speaks_on))
        client.close()
        for message in last:
            assert arrived(remote, [message])

    def test_b15_after_close_nothing_can_be_said(self, rig: Rig) -> None:
        client = Client(rig).closed()
        for name, pair in client.link.pairs.items():
            item = b"ping" if name is ChannelName.HEARTBEAT else from_clients(name)
            with pytest.raises(ChannelClosed):
                pair.outgoing.on_next(item)

    def test_b15_who_speaks_while_it_closes_is_refused_and_nothing_else(self, rig: Rig) -> None:
        client = Client(rig)

        def speak() -> Exception:
            while True:
                try:
                    client.say(from_clients(SHELL))
                except Exception as error:
                    return error

        refused, _ = all_at_once([speak, client.close])
        assert isinstance(refused, EnchannelError)

    def test_b16_each_link_hears_what_answers_it_and_all_hear_iopub(self, rig: Rig) -> None:
        with Client(rig) as one, Client(rig) as other:
            for name in one.speaks_on:
                to_one, to_other = said(rig, name, one), said(rig, name, other)
                assert ids(one.hears(to_one)) == ids(to_one)
                assert ids(other.hears(to_other)) == ids(to_other)
                assert not of(to_one, other.heard[name].items)
                assert not of(to_other, one.heard[name].items)
            to_all = said(rig, IOPUB, one)
            assert ids(one.hears(to_all)) == ids(other.hears(to_all)) == ids(to_all)

    def test_b16_the_end_of_a_link_takes_nothing_from_another(self, rig: Rig) -> None:
        remote = listening(rig)
        older = Client(rig)
        with Client(rig) as stays:
            older.close()
            Client(rig).close()
            for name in stays.channels:
                messages = said(rig, name, stays)
                assert ids(stays.hears(messages)) == ids(messages)
            ours = stays.say(from_clients(SHELL))
            assert ids(arrived(remote, ours)) == ids(ours)
            assert not stays.status.ended


def _close(client: Client, _: object) -> None:
    client.link.close()


def _say_all(rig: Rig, messages: list[AnyMessage]) -> None:
    for message in messages:
        rig.send(message)
