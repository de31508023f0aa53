"""Rules 4 to 8: messages, both ways."""

from __future__ import annotations

import threading
import uuid
from functools import partial

import pytest
from hypothesis import Phase, given, settings
from msgspec.structs import replace

import enchannel as ec
from enchannel import AnyMessage, ChannelName, Header
from enchannel.testing import _collector, strategies
from enchannel.testing._checks import (
    all_at_once,
    arrived,
    demand,
    eventually,
    listening,
    said,
    soon,
)
from enchannel.testing._client import Client, from_clients, from_kernel, has, ids, of
from enchannel.testing._collector import Collector
from enchannel.testing._rig import Rig

__all__ = ["Messages"]

IOPUB, SHELL = ChannelName.IOPUB, ChannelName.SHELL
MANY, SOME = 5_000, 300
MOMENT = 0.001  # seconds that a slow subscriber takes
HEAVY = 100_000  # bytes: what no transport sends in one piece
BEYOND_BUFFERS = 3_000, 10_000  # messages, and bytes of each: more than sockets take ahead
LARGE = 1 << 25  # bytes


class Messages:
    """What is said is heard: all of it, in order, as it was, and by who is meant."""

    def test_b04_a_channel_never_hears_what_was_said_on_it(self, rig: Rig) -> None:
        with Client(rig) as client:
            ours = client.say(*(from_clients(name) for name in client.speaks_on))
            for name in client.channels:
                client.hears(said(rig, name, client))
            assert not of(ours, [m for name in client.channels for m in client.heard[name].items])

    def test_b05_order_is_kept_from_the_kernel(self, rig: Rig) -> None:
        with Client(rig) as client:
            for name in client.channels:
                made = [
                    from_kernel(name, n, client) for n in range(MANY if name is IOPUB else SOME)
                ]
                heavy = client.at_most(HEAVY)
                messages = [_heavy(m, heavy) if n % 50 == 0 else m for n, m in enumerate(made)]
                for message in messages:
                    rig.send(message)
                assert ids(client.hears(messages)) == ids(messages)

    def test_b05_order_is_kept_to_the_kernel_whatever_thread_sends(self, rig: Rig) -> None:
        remote = listening(rig)
        with Client(rig) as client:
            heavy = client.at_most(HEAVY)
            for name in client.speaks_on:
                each = [
                    [from_clients(name, n, 0 if n % 50 else heavy) for n in range(200)]
                    for _ in range(4)
                ]
                all_at_once([partial(client.say, *messages) for messages in each])
                for messages in each:
                    assert ids(arrived(remote, messages)) == ids(messages)

    def test_b05_who_is_told_something_may_speak(self, rig: Rig) -> None:
        remote = listening(rig)
        with Client(rig, listens=False) as client:
            messages = [from_kernel(IOPUB, number, client) for number in range(100)]
            answers = {message.header.msg_id: from_clients(SHELL) for message in messages}

            def answer(message: AnyMessage) -> None:
                if message.header.msg_id in answers:
                    client.say(answers[message.header.msg_id])

            client.pair(IOPUB).incoming.subscribe(answer)
            for message in messages:
                rig.send(message)
            expected = list(answers.values())
            assert ids(arrived(remote, expected)) == ids(expected)

    def test_b06_no_two_items_of_a_channel_are_told_at_once(self, rig: Rig) -> None:
        with Client(rig, listens=False) as client:
            for name in client.channels:
                slow = _OneAtATime()
                client.pair(name).incoming.subscribe(slow.on_next)
                messages = [from_kernel(name, number, client) for number in range(100)]
                all_at_once([partial(_say_all, rig, messages[n::4]) for n in range(4)])
                known = set(ids(messages))
                heard = slow.seen.wait_until(lambda items, all=known: all <= set(ids(items)))  # type: ignore[misc]
                assert len(of(messages, heard)) == len(messages)
                assert not slow.overlapped

    def test_b06_a_slow_subscriber_loses_nothing(self, rig: Rig) -> None:
        with Client(rig, listens=False) as client:
            seen: Collector[AnyMessage] = Collector()
            begun = threading.Event()
            first, *rest = [from_kernel(IOPUB, number, client) for number in range(MANY)]

            def slow_to_begin(message: AnyMessage) -> None:
                if message.header.msg_id == first.header.msg_id:
                    begun.set()
                    threading.Event().wait(300 * MOMENT)  # in which all the others come
                seen.on_next(message)

            client.pair(IOPUB).incoming.subscribe(slow_to_begin)
            saying = threading.Thread(target=rig.send, args=(first,), daemon=True)
            saying.start()
            assert begun.wait(_collector.DEADLINE)
            _say_all(rig, rest)
            heard = seen.wait_until(has(rest[-1]))
            assert ids(of([first, *rest], heard)) == ids([first, *rest])

    def test_b07_sending_never_waits_for_the_kernel_to_read(self, rig: Rig) -> None:
        demand(rig, "pause_reading", "resume_reading")
        remote = listening(rig)
        count, size = BEYOND_BUFFERS
        with Client(rig) as client:
            arrived(remote, client.say(from_clients(SHELL)))
            size = client.at_most(size)
            messages = {
                name: [from_clients(name, n, size) for n in range(count if name is SHELL else SOME)]
                for name in client.speaks_on
            }
            rig.pause_reading()
            try:
                for of_one_channel in messages.values():
                    soon(partial(client.say, *of_one_channel))
                assert eventually(lambda: client.pair(SHELL).unsent() > 0), "unsent counts nothing"
            finally:
                rig.resume_reading()
            for of_one_channel in messages.values():
                assert ids(arrived(remote, of_one_channel)) == ids(of_one_channel)
            for name in client.speaks_on:
                assert eventually(lambda name=name: client.pair(name).unsent() == 0)  # type: ignore[misc]

    def test_b08_what_is_said_is_heard(self, rig: Rig) -> None:
        remote = listening(rig)
        with Client(rig) as client:
            parent = from_kernel(SHELL, 0, client).parent_header

            # to make a failing example smaller would be to wait for what does not come, again and again
            @settings(max_examples=50, deadline=None, phases=[Phase.explicit, Phase.generate])
            @given(strategies.messages(with_buffers=client.link.capabilities.buffers))
            def what_is_said_is_heard(made: AnyMessage) -> None:
                made = made.replace(header=replace(made.header, msg_id=uuid.uuid4().hex))
                if made.channel in client.channels:
                    to_us = made.replace(parent_header=parent)
                    rig.send(to_us)
                    assert _parts(client.hears([to_us])[0]) == _parts(to_us)
                if made.channel in client.speaks_on:
                    (to_them,) = client.say(made)
                    assert _parts(arrived(remote, [to_them])[0]) == _parts(to_them)

            what_is_said_is_heard()

    def test_b08_text_is_what_it_was(self, rig: Rig) -> None:
        remote = listening(rig)
        text = "\0\a\u0085\u2028 ä ⚠ 🐍 e\u0301 \ufeff \uffff"
        with Client(rig) as client:
            (ours,) = client.say(ec.execute_request(text))
            assert arrived(remote, [ours])[0].content == ours.content
            theirs = from_kernel(IOPUB, 0, client).replace(content={"name": text, "text": text * 9})
            rig.send(theirs)
            assert client.hears([theirs])[0].content == theirs.content

    def test_b08_many_buffers_are_what_they_were(self, rig: Rig) -> None:
        remote = listening(rig)
        with Client(rig) as client:
            if not client.link.capabilities.buffers:
                pytest.skip("it declares that its messages have no buffers")
            buffers = [b"", *(bytes([n]) * n for n in range(100)), bytes(range(256)) * 400]
            (ours,) = client.say(ec.comm_msg("c", {"text": "x"}, buffers=buffers))
            assert _parts(arrived(remote, [ours])[0]) == _parts(ours)
            theirs = from_kernel(IOPUB, 0, client).replace(buffers=tuple(buffers))
            rig.send(theirs)
            (heard,) = client.hears([theirs])
            assert _parts(heard) == _parts(theirs)
            assert all(buffer.readonly for buffer in heard.buffers)

    def test_b08_what_is_as_large_as_it_may_be_is_whole(self, rig: Rig) -> None:
        remote = listening(rig)
        with Client(rig) as client:
            size = client.at_most(LARGE)
            (ours,) = client.say(ec.execute_request("x" * size))
            assert arrived(remote, [ours])[0].content == ours.content
            theirs = from_kernel(IOPUB, 0, client).replace(content={"name": "", "text": "x" * size})
            rig.send(theirs)
            assert client.hears([theirs])[0].content == theirs.content


class _OneAtATime:
    """A subscriber that takes its time, and notices who does not wait for it."""

    def __init__(self) -> None:
        self.seen: Collector[AnyMessage] = Collector()
        self.overlapped = False
        self._inside = threading.Lock()

    def on_next(self, message: AnyMessage) -> None:
        if not self._inside.acquire(blocking=False):
            self.overlapped = True
            self.seen.on_next(message)
            return
        threading.Event().wait(MOMENT)
        self.seen.on_next(message)
        self._inside.release()


def _say_all(rig: Rig, messages: list[AnyMessage]) -> None:
    for message in messages:
        rig.send(message)


def _heavy(message: AnyMessage, size: int) -> AnyMessage:
    return message.replace(metadata={"heavy": "x" * size})


def _parts(message: AnyMessage) -> tuple[object, ...]:
    """What has to be the same at both ends: a server may write a date in another way."""
    return (
        message.channel,
        _undated(message.header),
        _undated(message.parent_header),
        message.metadata,
        message.content,
        message.buffers,
    )


def _undated(header: Header) -> Header:
    return replace(header, date="")
