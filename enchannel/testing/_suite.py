"""The conformance suite: a test for every rule of the contract in ``enchannel/abc.py``."""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

import enchannel as ec
from enchannel import AnyMessage, ChannelName, LinkState
from enchannel.abc import Status
from enchannel.errors import (
    ChannelClosed,
    ConnectionFailed,
    ConnectionLost,
    EnchannelError,
    InvalidMessage,
    KernelDied,
    RejectedFrame,
)
from enchannel.testing import strategies
from enchannel.testing._client import (
    TIMEOUT,
    Client,
    from_clients,
    from_kernel,
    ids,
    of,
)
from enchannel.testing._fake_kernel import FakeKernel
from enchannel.testing._rig import Rig
from enchannel.testing._seen import DEADLINE, Seen

__all__ = ["BackendSuite"]

T = TypeVar("T")

MOMENT = 0.001  # seconds that a slow subscriber takes
IOPUB, SHELL = ChannelName.IOPUB, ChannelName.SHELL


class BackendSuite:
    """What a backend has to pass. Derive from it, in a module that pytest collects, and give it a rig:

    ::

        class TestPigeon(BackendSuite):
            @pytest.fixture
            def rig(self):
                with PigeonRig() as rig:
                    yield rig

    A test's name begins with the number of the rule that a failure breaks.
    """

    @pytest.fixture
    def rig(self) -> Any:
        """The rig, new for each test."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture `rig`")

    # -- 1, 2, 3: open ----------------------------------------------------------------------------

    def test_b01_nothing_said_after_open_is_lost(self, rig: Rig) -> None:
        with Client(rig, listens=False) as client:
            said = {
                name: [from_kernel(name, number, client) for number in range(100)]
                for name in client.channels
            }
            for messages in said.values():
                for message in messages:
                    rig.say(message)
            client.listen()
            for messages in said.values():
                assert ids(client.hears(messages)) == ids(messages)

    def test_b02_open_fails_where_nobody_is(self, rig: Rig) -> None:
        nowhere = _given(rig, "nowhere")
        before = set(threading.enumerate())
        with pytest.raises(ConnectionFailed):
            self._soon(partial(_open_in_vain, rig, nowhere))
        assert _eventually(lambda: set(threading.enumerate()) <= before)

    def test_b03_pairs_are_the_channels_that_are_declared(self, rig: Rig) -> None:
        with Client(rig) as client:
            link = client.link
            assert set(link.pairs) == set(link.capabilities.channels)
            assert (link.lifecycle is not None) == link.capabilities.lifecycle
            assert {ChannelName.SHELL, ChannelName.IOPUB} <= set(link.pairs), "a kernel needs these"

    # -- 4 to 8: messages -------------------------------------------------------------------------

    def test_b04_a_channel_never_hears_what_was_said_on_it(self, rig: Rig) -> None:
        with Client(rig) as client:
            ours = client.say(*(from_clients(name) for name in client.speaks_on))
            for name in client.channels:
                client.hears(_said(rig, name, client))
            assert not of(ours, [m for name in client.channels for m in client.heard[name].items])

    def test_b05_order_is_kept_from_the_kernel(self, rig: Rig) -> None:
        with Client(rig) as client:
            for name in client.channels:
                said = _said(rig, name, client, count=500)
                assert ids(client.hears(said)) == ids(said)

    def test_b05_order_is_kept_to_the_kernel_whatever_thread_sends(self, rig: Rig) -> None:
        far = _listening(rig)
        with Client(rig) as client, ThreadPoolExecutor(4) as threads:
            for name in client.speaks_on:
                each = [[from_clients(name, n) for n in range(200)] for _ in range(4)]
                list(threads.map(lambda messages: client.say(*messages), each, timeout=DEADLINE))
                for messages in each:
                    assert ids(_arrived(far, messages)) == ids(messages)

    def test_b05_who_is_told_something_may_speak(self, rig: Rig) -> None:
        far = _listening(rig)
        with Client(rig, listens=False) as client:
            said = [from_kernel(IOPUB, number, client) for number in range(100)]
            answers = {message.header.msg_id: from_clients(SHELL) for message in said}

            def answer(message: AnyMessage) -> None:
                if message.header.msg_id in answers:
                    client.say(answers[message.header.msg_id])

            client.pair(IOPUB).incoming.subscribe(answer)
            for message in said:
                rig.say(message)
            expected = list(answers.values())
            assert ids(_arrived(far, expected)) == ids(expected)

    def test_b06_no_two_items_of_a_channel_are_told_at_once(self, rig: Rig) -> None:
        with Client(rig, listens=False) as client, ThreadPoolExecutor(4) as threads:
            one_at_a_time = _OneAtATime()
            client.pair(IOPUB).incoming.subscribe(one_at_a_time.on_next)
            said = [from_kernel(IOPUB, number, client) for number in range(200)]
            list(threads.map(rig.say, said, timeout=DEADLINE))
            heard = of(said, one_at_a_time.seen.until(lambda items: len(of(said, items)) == 200))
            assert sorted(ids(heard)) == sorted(ids(said))
            assert not one_at_a_time.overlapped

    def test_b07_sending_never_waits_for_the_kernel_to_read(self, rig: Rig) -> None:
        _demand(rig, "pause", "resume")
        far = _listening(rig)
        with Client(rig) as client:
            messages = [from_clients(SHELL, number) for number in range(5_000)]
            client.say(*messages[:1])
            _arrived(far, messages[:1])
            rig.pause()
            try:
                self._soon(lambda: client.say(*messages[1:]))
                assert client.pair(SHELL).unsent() >= 0
            finally:
                rig.resume()
            assert ids(_arrived(far, messages)) == ids(messages)
            assert _eventually(lambda: client.pair(SHELL).unsent() == 0)

    def test_b08_what_is_said_is_heard(self, rig: Rig) -> None:
        far = _listening(rig)
        with Client(rig) as client:
            parent = from_kernel(SHELL, 0, client).parent_header

            @settings(max_examples=50, deadline=None)
            @given(strategies.messages(with_buffers=client.link.capabilities.buffers))
            def what_is_said_is_heard(made: AnyMessage) -> None:
                made = made.replace(header=replace(made.header, msg_id=uuid.uuid4().hex))
                if made.channel in client.channels:
                    to_us = made.replace(parent_header=parent)
                    rig.say(to_us)
                    assert _parts(client.hears([to_us])[0]) == _parts(to_us)
                if made.channel in client.speaks_on:
                    (to_them,) = client.say(made)
                    assert _parts(_arrived(far, [to_them])[0]) == _parts(to_them)

            what_is_said_is_heard()

    def test_b08_text_is_what_it_was(self, rig: Rig) -> None:
        far = _listening(rig)
        text = "\0\a\u0085\u2028 ä ⚠ 🐍 e\u0301 \ufeff \uffff"
        with Client(rig) as client:
            (ours,) = client.say(ec.execute_request(text))
            assert _arrived(far, [ours])[0].content == ours.content
            theirs = from_kernel(IOPUB, 0, client).replace(content={"name": text, "text": text * 9})
            rig.say(theirs)
            assert client.hears([theirs])[0].content == theirs.content

    def test_b08_many_and_large_buffers_are_what_they_were(self, rig: Rig) -> None:
        far = _listening(rig)
        with Client(rig) as client:
            can = client.link.capabilities
            if not can.buffers:
                pytest.skip("it declares that its messages have no buffers")
            size = min(1 << 20, (can.max_message or 1 << 30) // 4)
            buffers = [
                b"",
                *(bytes([n]) * n for n in range(100)),
                bytes(range(256)) * (size // 256),
            ]
            ours = ec.comm_msg("c", {"text": "\0 ä ⚠ 🐍"}, buffers=buffers)
            (sent,) = client.say(ours)
            assert _parts(_arrived(far, [sent])[0]) == _parts(sent)
            theirs = from_kernel(IOPUB, 0, client).replace(buffers=tuple(buffers))
            rig.say(theirs)
            (heard,) = client.hears([theirs])
            assert _parts(heard) == _parts(theirs)
            assert all(buffer.readonly for buffer in heard.buffers)

    # -- 9, 10: what is no message ----------------------------------------------------------------

    def test_b09_what_cannot_be_read_is_reported_and_dropped(self, rig: Rig) -> None:
        _demand(rig, "garbage")
        with Client(rig) as client:
            for name in client.channels:
                for garble in rig.garbage.values():
                    before = _rejections(client.status.items)
                    garble(name)
                    good = _said(rig, name, client)
                    assert ids(client.hears(good)) == ids(good)
                    client.status.until(partial(_more_rejections, before))
            assert not client.status.ended

    def test_b10_a_message_over_the_limit_is_the_callers_error(self, rig: Rig) -> None:
        far = _listening(rig)
        with Client(rig) as client:
            limit = client.link.capabilities.max_message
            if limit is None:
                pytest.skip("it declares no limit")
            with pytest.raises(InvalidMessage) as refused:
                client.say(ec.execute_request("x" * (limit + 1)))
            assert str(limit) in re.sub(r"[,_.\s]", "", str(refused.value)), "it names the limit"
            good = client.say(ec.execute_request("x"))
            assert ids(_arrived(far, good)) == ids(good)

    def test_b10_buffers_that_cannot_be_sent_are_the_callers_error(self, rig: Rig) -> None:
        far = _listening(rig)
        with Client(rig) as client:
            if client.link.capabilities.buffers:
                pytest.skip("it declares that its messages may have buffers")
            with pytest.raises(InvalidMessage):
                client.say(ec.comm_msg("c", buffers=[b"x"]))
            good = client.say(ec.execute_request("x"))
            assert ids(_arrived(far, good)) == ids(good)

    # -- 11, 12, 13: a link that breaks -----------------------------------------------------------

    def test_b11_a_lost_link_is_told_and_so_is_its_return(self, rig: Rig) -> None:
        _demand(rig, "cut", "restore")
        far = _listening(rig)
        with Client(rig) as client:
            rig.cut()
            client.status.until(lambda told: _is_lost(told, LinkState.LOST))
            rig.restore()
            client.status.until(_is_back)
            assert not client.status.ended
            for name in client.channels:
                said = _said(rig, name, client)
                assert ids(client.hears(said)) == ids(said)
            ours = client.say(from_clients(SHELL))
            assert ids(_arrived(far, ours)) == ids(ours)

    def test_b11_what_was_asked_ends_with_the_link(self, rig: Rig) -> None:
        _demand(rig, "cut", "restore")
        FakeKernel(rig, lambda request: [])
        with _kernel(rig) as kernel:
            asked: Seen[AnyMessage] = Seen(kernel.execute("1"))
            asked.first(1)
            rig.cut()
            assert isinstance(asked.failure(), (ConnectionLost, KernelDied))

    def test_b12_while_a_link_is_lost_nothing_can_be_said(self, rig: Rig) -> None:
        _demand(rig, "cut", "restore")
        far = _listening(rig)
        with Client(rig) as client:
            rig.cut()
            client.status.until(lambda told: _is_lost(told, LinkState.LOST))
            lost = from_clients(SHELL)
            with pytest.raises((ConnectionLost, KernelDied)):
                client.say(lost)
            rig.restore()
            client.status.until(_is_back)
            assert ids(_arrived(far, client.say(from_clients(SHELL))))
            assert not of([lost], far.items)

    def test_b13_a_link_that_is_given_up_fails_once(self, rig: Rig) -> None:
        _demand(rig, "give_up")
        with Client(rig, options=rig.impatient) as client:
            rig.give_up()
            assert isinstance(client.status.failure(), EnchannelError)
            assert not client.status.completed

    def test_b13_a_link_that_is_given_up_ends_every_channel_with_the_error(self, rig: Rig) -> None:
        _demand(rig, "give_up")
        with _kernel(rig, **rig.impatient) as kernel:
            channels = [kernel.shell, kernel.iopub, kernel.main]
            early: list[Seen[AnyMessage]] = [Seen(channel) for channel in channels]
            rig.give_up()
            assert all(isinstance(seen.failure(), EnchannelError) for seen in early)
            late: list[Seen[AnyMessage]] = [Seen(channel) for channel in channels]
            assert all(isinstance(seen.failure(), EnchannelError) for seen in late)

    # -- 14, 15, 16: close ------------------------------------------------------------------------

    def test_b14_close_completes_every_channel(self, rig: Rig) -> None:
        with _kernel(rig) as kernel:
            channels = [kernel.shell, kernel.iopub, kernel.main]
            early: list[Seen[AnyMessage]] = [Seen(channel) for channel in channels]
        late: list[Seen[AnyMessage]] = [Seen(channel) for channel in channels]
        for seen in early + late:
            seen.all()
            assert seen.completed

    def test_b14_close_may_be_called_twice_and_from_any_thread(self, rig: Rig) -> None:
        before = set(threading.enumerate())
        client = Client(rig)
        with ThreadPoolExecutor(4) as threads:
            for closing in [threads.submit(client.link.close) for _ in range(4)]:
                closing.result(DEADLINE)
        client.link.close()
        client.status.all()
        assert client.status.completed
        assert _eventually(lambda: set(threading.enumerate()) <= before), "it leaves a thread"

    def test_b14_close_may_be_called_by_who_is_told_something(self, rig: Rig) -> None:
        client = Client(rig, listens=False)
        client.link.status.subscribe(client.status)
        client.pair(IOPUB).incoming.subscribe(lambda message: client.link.close())
        self._soon(lambda: rig.say(from_kernel(IOPUB, 0, client)))
        client.status.all()
        assert client.status.completed

    def test_b14_after_close_nothing_is_heard(self, rig: Rig) -> None:
        client = Client(rig)
        with Client(rig) as witness:
            client.link.close()
            heard = {name: len(seen.items) for name, seen in client.heard.items()}
            told = len(client.status.items)
            for name in witness.channels:
                rig.say(from_kernel(name, 0, client))
                witness.hears(_said(rig, name, witness))
            assert {name: len(seen.items) for name, seen in client.heard.items()} == heard
            assert len(client.status.items) == told
            assert client.status.completed

    def test_b15_after_close_nothing_can_be_said(self, rig: Rig) -> None:
        client = Client(rig)
        client.link.close()
        for name in client.speaks_on:
            with pytest.raises(ChannelClosed):
                client.say(from_clients(name))

    def test_b16_each_link_hears_what_answers_it_and_all_hear_iopub(self, rig: Rig) -> None:
        with Client(rig) as one, Client(rig) as other:
            for name in one.speaks_on:
                to_one, to_other = _said(rig, name, one), _said(rig, name, other)
                assert ids(one.hears(to_one)) == ids(to_one)
                assert ids(other.hears(to_other)) == ids(to_other)
                assert not of(to_one, other.heard[name].items)
                assert not of(to_other, one.heard[name].items)
            to_all = _said(rig, IOPUB, one)
            assert ids(one.hears(to_all)) == ids(other.hears(to_all)) == ids(to_all)

    def test_b16_the_end_of_a_link_takes_nothing_from_another(self, rig: Rig) -> None:
        far = _listening(rig)
        with Client(rig) as stays:
            Client(rig).link.close()
            for name in stays.channels:
                said = _said(rig, name, stays)
                assert ids(stays.hears(said)) == ids(said)
            ours = stays.say(from_clients(SHELL))
            assert ids(_arrived(far, ours)) == ids(ours)
            assert not stays.status.ended

    # -- 17 to 20 ---------------------------------------------------------------------------------

    def test_b17_a_beat_comes_back_as_it_was(self, rig: Rig) -> None:
        with Client(rig) as client:
            if ChannelName.HEARTBEAT not in client.link.pairs:
                pytest.skip("it declares that it has no heartbeat")
            beats = [b"ping", b"", b"\0\xff" * 100]
            for number, beat in enumerate(beats, 1):
                client.pair(ChannelName.HEARTBEAT).outgoing.on_next(beat)
                client.heard[ChannelName.HEARTBEAT].first(number)
            assert client.heard[ChannelName.HEARTBEAT].items == beats

    def test_b18_whatever_the_target_only_our_errors_come_out(self, rig: Rig) -> None:
        for nonsense in (17, None, "", "\0", object(), {"a": object()}, ["x"], b"\xff"):
            with pytest.raises(EnchannelError):
                self._soon(partial(_open_in_vain, rig, nonsense))

    def test_b19_no_secret_is_in_any_text(self, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
        secrets = _given(rig, "secrets")
        caplog.set_level(logging.DEBUG)
        texts: list[object] = [rig.backend]
        with Client(rig) as client:
            texts += [client.link, *client.link.pairs.items()]
            client.hears(_said(rig, IOPUB, client))
            if "garbage" not in rig.cannot:
                for garble in rig.garbage.values():
                    garble(IOPUB)
                client.hears(_said(rig, IOPUB, client))
            if "cut" not in rig.cannot:
                rig.cut()
                client.status.until(lambda told: _is_lost(told, LinkState.LOST))
            texts += [*client.status.items, *client.heard[IOPUB].items]
        try:
            client.say(from_clients(SHELL))
        except EnchannelError as error:
            texts.append(error)
        if "nowhere" not in rig.cannot:
            with pytest.raises(ConnectionFailed) as failed:
                _open_in_vain(rig, rig.nowhere)
            texts.append(failed.value)
        seen = "\n".join([caplog.text, *(f"{text!r} {text}" for text in texts)])
        assert not [secret for secret in secrets if secret in seen]

    def test_b20_a_lifecycle_tells_also_who_comes_late(self, rig: Rig) -> None:
        if "listen" not in rig.cannot:
            FakeKernel(rig)
        with Client(rig) as client:
            lifecycle = client.link.lifecycle
            if lifecycle is None:
                pytest.skip("it declares that it has no lifecycle")
            for act in (lifecycle.interrupt, lifecycle.restart):
                if (done := self._soon(act)) is not None:
                    assert Seen(done).all() == [None]
                    assert Seen(done).all() == [None]
            (asked,) = client.say(ec.kernel_info_request())
            client.heard[SHELL].until_any(
                lambda message: message.parent_header.msg_id == asked.header.msg_id
            )
            ended = self._soon(lifecycle.shutdown)
            assert Seen(ended).all() == [None]
            assert Seen(ended).all() == [None]

    # -- all of it together -----------------------------------------------------------------------

    def test_a_request_is_answered(self, rig: Rig) -> None:
        kernel = FakeKernel(rig)
        with _kernel(rig) as client:
            assert client.run("6 * 7", timeout=DEADLINE).text == "6 * 7"
        assert "execute_request" in [message.header.msg_type for message in kernel.heard]

    @staticmethod
    def _soon(act: Callable[[], T]) -> T:
        """Do something that must not hang."""
        threads = ThreadPoolExecutor(1)
        try:
            return threads.submit(act).result(DEADLINE)
        finally:
            threads.shutdown(wait=False)


class _OneAtATime:
    """A subscriber that takes its time, and notices who does not wait for it."""

    def __init__(self) -> None:
        self.seen: Seen[AnyMessage] = Seen()
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


@contextmanager
def _kernel(rig: Rig, **options: Any) -> Iterator[ec.Kernel]:
    given = {**rig.options, **options}
    with ec.connect(rig.target, backend=rig.backend, timeout=TIMEOUT, **given) as kernel:
        yield kernel


def _said(rig: Rig, name: ChannelName, client: Client, count: int = 1) -> list[AnyMessage]:
    """Have the kernel say something to a client."""
    said = [from_kernel(name, number, client) for number in range(count)]
    for message in said:
        rig.say(message)
    return said


def _listening(rig: Rig) -> Seen[AnyMessage]:
    far: Seen[AnyMessage] = Seen()
    rig.listen(far.on_next)
    return far


def _arrived(far: Seen[AnyMessage], messages: list[AnyMessage]) -> list[AnyMessage]:
    """Wait until the kernel has heard the last of the messages; which of them it has, in that order."""
    last = messages[-1].header.msg_id
    return of(messages, far.until(lambda heard: last in ids(heard[-1_000:])))


def _parts(message: AnyMessage) -> tuple[object, ...]:
    """What has to be the same at both ends: a server may write a date in another way."""
    header, parent = message.header, message.parent_header
    return (
        message.channel,
        (header.msg_id, header.msg_type, header.session, header.subshell_id),
        parent.msg_id,
        message.metadata,
        message.content,
        message.buffers,
    )


def _open_in_vain(rig: Rig, target: object) -> None:
    rig.backend.open(target, session=ec.Session(), timeout=0.5, **rig.options).close()


def _rejections(told: list[Status]) -> int:
    return sum(isinstance(status, RejectedFrame) for status in told)


def _more_rejections(before: int, told: list[Status]) -> bool:
    return _rejections(told) > before


def _is_lost(told: list[Status], state: LinkState) -> bool:
    """Whether a link's loss was told, and after it that what was asked is lost too."""
    return state in told and any(
        isinstance(status, (ConnectionLost, KernelDied)) for status in told[told.index(state) :]
    )


def _is_back(told: list[Status]) -> bool:
    lost = LinkState.LOST in told
    return lost and LinkState.CONNECTED in told[told.index(LinkState.LOST) :]


def _given(rig: Rig, name: str) -> Any:
    """An attribute of a rig that it may do without, if it says why."""
    if name in rig.cannot:
        pytest.skip(rig.cannot[name])
    value = getattr(rig, name)
    assert value, f"{type(rig).__name__} has no {name}, and does not declare why in `cannot`"
    return value


def _demand(rig: Rig, *names: str) -> None:
    """Skip where a rig declares that it cannot do something; fail where it neither can nor declares it."""
    for name in names:
        if name in rig.cannot:
            pytest.skip(rig.cannot[name])
        there = getattr(type(rig), name) is not getattr(Rig, name)
        assert there, f"{type(rig).__name__} has no {name}, and does not declare why in `cannot`"


def _eventually(condition: Callable[[], bool]) -> bool:
    """Wait for what no event tells of."""
    end = time.monotonic() + DEADLINE
    while not (so := condition()) and time.monotonic() < end:
        threading.Event().wait(0.01)
    return so
