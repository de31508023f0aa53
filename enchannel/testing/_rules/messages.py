"""Rules 4 to 8: messages in both directions."""

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
    call_concurrently,
    call_in_time,
    collect_messages,
    eventually,
    require,
    send_from_kernel,
    wait_for_arrival,
)
from enchannel.testing._client import Client, client_message, contains, ids, kernel_message, select
from enchannel.testing._collector import Collector
from enchannel.testing._rig import Rig

__all__ = ["Messages"]

IOPUB, SHELL = ChannelName.IOPUB, ChannelName.SHELL
MANY, SOME = 5_000, 300
# Seconds that a slow subscriber takes for each item.
SLOW_DELAY = 0.001
# More than a transport sends in one piece.
FRAGMENTED_BYTES = 100_000
# Together, more than sockets buffer.
UNREAD_COUNT, UNREAD_BYTES = 3_000, 10_000
LARGE_BYTES = 1 << 25


class Messages:
    """Tests that messages arrive completely, in order and unchanged."""

    def test_b04_sent_messages_are_not_echoed(self, rig: Rig) -> None:
        with Client(rig) as client:
            ours = client.send(*(client_message(name) for name in client.sendable_channels))
            for name in client.channels:
                client.wait_for(send_from_kernel(rig, name, client))
            assert not select(
                ours, [m for name in client.channels for m in client.received[name].items]
            )

    def test_b05_incoming_order_is_kept(self, rig: Rig) -> None:
        with Client(rig) as client:
            for name in client.channels:
                made = [
                    kernel_message(name, n, client) for n in range(MANY if name is IOPUB else SOME)
                ]
                large_size = client.largest(FRAGMENTED_BYTES)
                messages = [
                    _enlarged(m, large_size) if n % 50 == 0 else m for n, m in enumerate(made)
                ]
                for message in messages:
                    rig.send(message)
                assert ids(client.wait_for(messages)) == ids(messages)

    def test_b05_outgoing_order_is_kept_per_thread(self, rig: Rig) -> None:
        remote = collect_messages(rig)
        with Client(rig) as client:
            large_size = client.largest(FRAGMENTED_BYTES)
            for name in client.sendable_channels:
                each = [
                    [client_message(name, n, 0 if n % 50 else large_size) for n in range(200)]
                    for _ in range(4)
                ]
                call_concurrently([partial(client.send, *messages) for messages in each])
                for messages in each:
                    assert ids(wait_for_arrival(remote, messages)) == ids(messages)

    def test_b05_observer_may_send(self, rig: Rig) -> None:
        remote = collect_messages(rig)
        with Client(rig, subscribe=False) as client:
            messages = [kernel_message(IOPUB, number, client) for number in range(100)]
            answers = {message.header.msg_id: client_message(SHELL) for message in messages}

            def answer(message: AnyMessage) -> None:
                if message.header.msg_id in answers:
                    client.send(answers[message.header.msg_id])

            client.pair(IOPUB).incoming.subscribe(answer)
            for message in messages:
                rig.send(message)
            expected = list(answers.values())
            assert ids(wait_for_arrival(remote, expected)) == ids(expected)

    def test_b06_emissions_of_a_channel_do_not_overlap(self, rig: Rig) -> None:
        with Client(rig, subscribe=False) as client:
            for name in client.channels:
                slow = _OneAtATime()
                client.pair(name).incoming.subscribe(slow.on_next)
                messages = [kernel_message(name, number, client) for number in range(100)]
                call_concurrently([partial(_send_all, rig, messages[n::4]) for n in range(4)])
                known = set(ids(messages))
                received = slow.seen.wait_until(lambda items, all=known: all <= set(ids(items)))  # type: ignore[misc]
                assert len(select(messages, received)) == len(messages)
                assert not slow.overlapped

    def test_b06_slow_subscriber_receives_everything(self, rig: Rig) -> None:
        with Client(rig, subscribe=False) as client:
            seen: Collector[AnyMessage] = Collector()
            begun = threading.Event()
            first, *rest = [kernel_message(IOPUB, number, client) for number in range(MANY)]

            def slow_to_begin(message: AnyMessage) -> None:
                if message.header.msg_id == first.header.msg_id:
                    begun.set()
                    # The other messages arrive meanwhile.
                    threading.Event().wait(300 * SLOW_DELAY)
                seen.on_next(message)

            client.pair(IOPUB).incoming.subscribe(slow_to_begin)
            sending = threading.Thread(target=rig.send, args=(first,), daemon=True)
            sending.start()
            assert begun.wait(_collector.DEADLINE)
            _send_all(rig, rest)
            received = seen.wait_until(contains(rest[-1]))
            assert ids(select([first, *rest], received)) == ids([first, *rest])

    def test_b07_sending_does_not_block(self, rig: Rig) -> None:
        require(rig, "pause_reading", "resume_reading")
        remote = collect_messages(rig)
        with Client(rig) as client:
            wait_for_arrival(remote, client.send(client_message(SHELL)))
            size = client.largest(UNREAD_BYTES)
            messages = {
                name: [
                    client_message(name, n, size)
                    for n in range(UNREAD_COUNT if name is SHELL else SOME)
                ]
                for name in client.sendable_channels
            }
            rig.pause_reading()
            try:
                for of_one_channel in messages.values():
                    call_in_time(partial(client.send, *of_one_channel))
                assert eventually(lambda: client.pair(SHELL).unsent() > 0), (
                    "unsent() of shell stayed 0 while the kernel did not read"
                )
            finally:
                rig.resume_reading()
            for of_one_channel in messages.values():
                assert ids(wait_for_arrival(remote, of_one_channel)) == ids(of_one_channel)
            for name in client.sendable_channels:
                assert eventually(lambda name=name: client.pair(name).unsent() == 0)  # type: ignore[misc]

    def test_b08_any_message_arrives_unchanged(self, rig: Rig) -> None:
        remote = collect_messages(rig)
        with Client(rig) as client:
            parent = kernel_message(SHELL, 0, client).parent_header

            # Without shrinking: each smaller example of a lost message would wait until the deadline again.
            @settings(max_examples=50, deadline=None, phases=[Phase.explicit, Phase.generate])
            @given(strategies.messages(with_buffers=client.link.capabilities.buffers))
            def check_message(made: AnyMessage) -> None:
                made = made.replace(header=replace(made.header, msg_id=uuid.uuid4().hex))
                if made.channel in client.channels:
                    incoming = made.replace(parent_header=parent)
                    rig.send(incoming)
                    assert _parts(client.wait_for([incoming])[0]) == _parts(incoming)
                if made.channel in client.sendable_channels:
                    (outgoing,) = client.send(made)
                    assert _parts(wait_for_arrival(remote, [outgoing])[0]) == _parts(outgoing)

            check_message()

    def test_b08_text_arrives_unchanged(self, rig: Rig) -> None:
        remote = collect_messages(rig)
        text = "\0\a\u0085\u2028 ä ⚠ 🐍 e\u0301 \ufeff \uffff"
        with Client(rig) as client:
            (ours,) = client.send(ec.execute_request(text))
            assert wait_for_arrival(remote, [ours])[0].content == ours.content
            theirs = kernel_message(IOPUB, 0, client).replace(
                content={"name": text, "text": text * 9}
            )
            rig.send(theirs)
            assert client.wait_for([theirs])[0].content == theirs.content

    def test_b08_many_buffers_arrive_unchanged(self, rig: Rig) -> None:
        remote = collect_messages(rig)
        with Client(rig) as client:
            if not client.link.capabilities.buffers:
                pytest.skip("capabilities.buffers is False")
            buffers = [b"", *(bytes([n]) * n for n in range(100)), bytes(range(256)) * 400]
            (ours,) = client.send(ec.comm_msg("c", {"text": "x"}, buffers=buffers))
            assert _parts(wait_for_arrival(remote, [ours])[0]) == _parts(ours)
            theirs = kernel_message(IOPUB, 0, client).replace(buffers=tuple(buffers))
            rig.send(theirs)
            (received,) = client.wait_for([theirs])
            assert _parts(received) == _parts(theirs)
            assert all(buffer.readonly for buffer in received.buffers)

    def test_b08_largest_message_arrives_unchanged(self, rig: Rig) -> None:
        remote = collect_messages(rig)
        with Client(rig) as client:
            size = client.largest(LARGE_BYTES)
            (ours,) = client.send(ec.execute_request("x" * size))
            assert wait_for_arrival(remote, [ours])[0].content == ours.content
            theirs = kernel_message(IOPUB, 0, client).replace(
                content={"name": "", "text": "x" * size}
            )
            rig.send(theirs)
            assert client.wait_for([theirs])[0].content == theirs.content


class _OneAtATime:
    """A slow subscriber that detects overlapping calls."""

    def __init__(self) -> None:
        self.seen: Collector[AnyMessage] = Collector()
        self.overlapped = False
        self._inside = threading.Lock()

    def on_next(self, message: AnyMessage) -> None:
        if not self._inside.acquire(blocking=False):
            self.overlapped = True
            self.seen.on_next(message)
            return
        threading.Event().wait(SLOW_DELAY)
        self.seen.on_next(message)
        self._inside.release()


def _send_all(rig: Rig, messages: list[AnyMessage]) -> None:
    for message in messages:
        rig.send(message)


def _enlarged(message: AnyMessage, size: int) -> AnyMessage:
    return message.replace(metadata={"text": "x" * size})


def _parts(message: AnyMessage) -> tuple[object, ...]:
    """Return the parts that must be equal at both ends; a server may reformat the date."""
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
