"""A notebook that runs itself: by a kernel in hand, which says what a test wants, when it wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace
from reactivex import abc
from reactivex import operators as ops

import commutable as cm
import enchannel as ec
from enchannel import AnyMessage, ChannelName
from enchannel import messages as build
from enchannel.testing import Collector
from tests.rigs.messages import answered, busy, idle, printed, reply_to
from tests.rigs.scripted import ScriptedLifecycle, ScriptedLink, settle

QUEUED, RUNNING, IDLE = cm.CellStatus.QUEUED, cm.CellStatus.RUNNING, cm.CellStatus.IDLE


def notebook_of(*sources: str, **tags: str) -> cm.Notebook:
    """Code cells a, b, …; those that are named have a tag."""
    notebook = cm.empty_notebook
    for id, source in zip("abcdefgh", sources, strict=False):
        metadata = {"tags": [tags[id]]} if id in tags else {}
        notebook = cm.append_cell(notebook, cm.code_cell(source, id=id, metadata=metadata))
    return notebook


def code(notebook: cm.Notebook, cell_id: str) -> cm.CodeCell:
    cell = notebook.cell(cell_id)
    assert isinstance(cell, cm.CodeCell)
    return cell


def text(notebook: cm.Notebook, cell_id: str) -> str:
    return code(notebook, cell_id).outputs.text


def statuses(notebook: cm.Notebook) -> list[cm.CellStatus]:
    return [code(notebook, cell.id).status for cell in notebook.cells]


def raised(request: AnyMessage, ename: str = "E") -> list[AnyMessage]:
    told: dict[str, Any] = {"ename": ename, "evalue": "why", "traceback": ["where"]}
    error = build.error(ename, "why", ["where"], parent=request)
    return [busy(request), error, reply_to(request, status="error", **told), idle(request)]


def shown(value: str, id: str, request: AnyMessage, kind: str = "display_data") -> AnyMessage:
    content = {"data": {"text/plain": value}, "metadata": {}, "transient": {"display_id": id}}
    return ec.create_message(kind, content, channel="iopub", parent=request)


class Running:
    """A notebook that runs in a kernel in hand; time moves when a test says so."""

    def __init__(self, remote: ScriptedLink, kernel: ec.Kernel, *, on_loop: bool) -> None:
        self.remote = remote
        self.kernel = kernel
        self.seen: Collector[cm.Notebook] = Collector()
        self._on_loop = on_loop
        self.attentive = True  # whether it answers, after the last cell, that it is done
        self.subscription: abc.DisposableBase | None = None

    def begin(self, notebook: cm.Notebook, **options: Any) -> None:
        states = cm.execute(notebook, self.kernel, **options)
        scheduler = self.remote.clock if self._on_loop else None
        self.subscription = states.subscribe(self.seen, scheduler=scheduler)
        self.settle()

    def say(self, *messages: AnyMessage) -> None:
        before = self.asked
        self.remote.send(*messages)
        self.settle()
        if self.asked is not before and self.is_asked_whether_it_is_done and self.attentive:
            self.remote.send(*answered(self.asked))
            self.settle()

    def answer(self, *outputs: Callable[[AnyMessage], AnyMessage], **content: Any) -> None:
        """Answer the cell that was sent last, as one that goes well."""
        request = self.asked
        self.say(*dated(answered(request, *(output(request) for output in outputs), **content)))

    def settle(self) -> None:
        """Everything that was said is delivered."""
        settle(self.kernel)
        if self._on_loop:
            self.remote.clock.advance_by(0.01)
            settle(self.kernel)
            self.remote.clock.advance_by(0.01)

    @property
    def asked(self) -> AnyMessage:
        return self.remote.last_request

    @property
    def is_asked_whether_it_is_done(self) -> bool:
        return self.asked.header.msg_type == "kernel_info_request"

    @property
    def sent(self) -> list[str]:
        return [
            message.content["code"]
            for message in self.remote.received[ChannelName.SHELL]
            if message.header.msg_type == "execute_request"
        ]

    @property
    def last(self) -> cm.Notebook:
        return self.seen.items[-1]

    @property
    def error(self) -> cm.CellFailed:
        error = self.seen.error
        assert isinstance(error, cm.CellFailed)
        return error


@pytest.fixture(params=[False, True], ids=["on the delivery thread", "on a loop"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    remote = ScriptedLink(lifecycle=ScriptedLifecycle())
    with remote.kernel() as kernel:
        yield Running(remote, kernel, on_loop=request.param)


def dated(messages: list[AnyMessage]) -> list[AnyMessage]:
    """As kernels say them: each with its time."""
    return [
        message.replace(header=replace(message.header, date=f"2026-01-01T00:00:0{second}Z"))
        for second, message in enumerate(messages)
    ]


def prints(what: str) -> Callable[[AnyMessage], AnyMessage]:
    return partial(printed, what)


def test_cells_are_sent_one_after_the_other(running: Running) -> None:
    running.begin(notebook_of("1", "2"))
    assert running.sent == ["1"]
    running.answer(prints("one"), execution_count=7)
    assert running.sent == ["1", "2"]
    assert not running.seen.ended
    running.answer(prints("two"), execution_count=8)
    assert running.seen.completed
    assert [text(running.last, id) for id in "ab"] == ["one", "two"]
    assert [code(running.last, id).execution_count for id in "ab"] == [7, 8]


def test_there_is_a_state_for_whatever_happens(running: Running) -> None:
    running.begin(notebook_of("1", "2"))
    assert [statuses(state) for state in running.seen.items] == [
        [QUEUED, QUEUED],
        [RUNNING, QUEUED],
    ]
    request = running.asked
    running.say(busy(request), build.execute_input("1", 3, parent=request))
    assert code(running.last, "a").execution_count == 3
    running.say(printed("x", request))
    running.say(printed("y", request))
    assert [text(state, "a") for state in running.seen.items[-2:]] == ["x", "xy"]
    before = len(running.seen.items)
    running.say(reply_to(request), idle(request))
    assert [statuses(state) for state in running.seen.items[before:]] == [
        [IDLE, QUEUED],
        [IDLE, RUNNING],
    ]


def test_what_it_begins_with_stays_as_it_was(running: Running) -> None:
    notebook = cm.update_outputs(
        notebook_of("1"), "a", [{"output_type": "stream", "name": "stdout", "text": "old"}]
    )
    running.begin(notebook)
    assert text(running.last, "a") == ""
    running.answer(prints("new"))
    assert (text(notebook, "a"), text(running.last, "a")) == ("old", "new")


def test_what_does_not_run_is_the_same_object_in_every_state(running: Running) -> None:
    notebook = cm.append_cell(notebook_of("1"), cm.markdown_cell("prose", id="prose"))
    running.begin(notebook)
    running.answer(prints("x"))
    assert all(state.cell("prose") is notebook.cell("prose") for state in running.seen.items)


def test_prose_empty_cells_and_those_to_be_skipped_are_not_run(running: Running) -> None:
    notebook = notebook_of("1", " \n", "3", c="skip-execution")
    notebook = cm.append_cell(notebook, cm.markdown_cell("prose"))
    assert cm.runnable_cells(notebook) == ("a",)
    running.begin(notebook)
    running.answer()
    assert running.sent == ["1"]
    assert running.seen.completed


def test_a_notebook_without_code_is_done_at_once(running: Running) -> None:
    running.begin(cm.empty_notebook)
    assert (running.seen.items, running.seen.completed) == ([cm.empty_notebook], True)


def test_some_cells_can_be_run_in_the_order_of_the_notebook(running: Running) -> None:
    running.begin(notebook_of("1", "2", "3"), cells=["c", "a"])
    running.answer()
    running.answer()
    assert running.sent == ["1", "3"]


def test_a_cell_that_is_not_there_cannot_be_run(running: Running) -> None:
    with pytest.raises(cm.CellNotFound, match="'z'"):
        cm.execute(notebook_of("1"), running.kernel, cells=["z"])


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_a_time_that_is_none(running: Running, timeout: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        cm.execute(notebook_of("1"), running.kernel, timeout=timeout)


def test_each_subscription_runs_it(running: Running) -> None:
    states = cm.execute(notebook_of("1"), running.kernel)
    assert running.sent == []
    for _ in range(2):
        states.subscribe(running.seen)
        running.answer()
    assert running.sent == ["1", "1"]


# -- what stops it ------------------------------------------------------------------------------------


def test_an_error_stops_it_and_says_which_cell(running: Running) -> None:
    running.begin(notebook_of("1", "2", "3"))
    running.answer(prints("one"))
    running.say(*raised(running.asked))
    error = running.error
    assert str(error) == "cell 2 of 3 (b): E: why"
    assert (error.cell_id, error.notebook) == ("b", running.last)
    assert isinstance(error.reason, ec.KernelError)
    assert error.__cause__ is error.reason
    assert (error.reason.ename, error.reason.traceback) == ("E", ("where",))
    assert statuses(running.last) == [IDLE, IDLE, IDLE]
    assert [text(running.last, id) for id in "abc"] == ["one", "where", ""]
    assert running.sent == ["1", "2"]


@pytest.mark.parametrize(
    ("options", "tags"), [({"allow_errors": True}, {}), ({}, {"a": "raises-exception"})]
)
def test_errors_can_be_allowed(running: Running, options: Any, tags: Any) -> None:
    running.begin(notebook_of("1", "2", **tags), **options)
    running.say(*raised(running.asked))
    running.answer()
    assert running.seen.completed
    assert text(running.last, "a") == "where"


def test_an_error_that_only_the_reply_tells_is_an_output_as_well(running: Running) -> None:
    running.begin(notebook_of("1"))
    running.answer(status="error", ename="E", evalue="why", traceback=[])
    assert isinstance(running.error.reason, ec.KernelError)
    assert code(running.last, "a").outputs == [
        {"output_type": "error", "ename": "E", "evalue": "why", "traceback": []}
    ]


@pytest.mark.parametrize("status", ["aborted", "abort"])
def test_a_cell_that_the_kernel_does_not_run_stops_it(running: Running, status: str) -> None:
    running.begin(notebook_of("1", "2"), allow_errors=True)
    running.answer(status=status)
    assert isinstance(running.error.reason, ec.RequestAborted)
    assert running.sent == ["1"]


def test_a_kernel_that_dies_keeps_what_it_said(running: Running) -> None:
    running.begin(notebook_of("1", "2"), allow_errors=True)
    running.say(busy(running.asked), printed("so far", running.asked))
    running.remote.emit_event(ec.KernelDied("it died"))
    running.settle()
    assert str(running.error) == "cell 1 of 2 (a): it died"
    assert isinstance(running.error.reason, ec.KernelDied)
    assert text(running.error.notebook, "a") == "so far"
    assert running.last is running.error.notebook


def test_a_kernel_that_is_closed_ends_it(running: Running) -> None:
    running.begin(notebook_of("1"))
    running.kernel.close()
    if running._on_loop:
        running.remote.clock.advance_by(1)
    assert isinstance(running.error.reason, ec.ChannelClosed)


def test_it_does_not_begin_in_a_kernel_that_is_closed(running: Running) -> None:
    running.kernel.close()
    cm.execute(notebook_of("1"), running.kernel).subscribe(running.seen)
    assert isinstance(running.error.reason, ec.ChannelClosed)
    assert statuses(running.last) == [IDLE]


def test_a_cell_that_takes_too_long_is_interrupted_and_what_it_says_of_that_is_kept(
    running: Running,
) -> None:
    running.begin(notebook_of("1", "2"), timeout=5)
    request = running.asked
    running.say(busy(request), printed("working", request))
    running.remote.clock.advance_by(6)
    running.settle()
    assert running.remote.lifecycle is not None
    assert running.remote.lifecycle.calls == ["interrupt"]
    assert not running.seen.ended
    running.say(*raised(request, "KeyboardInterrupt")[1:])
    running.say(*answered(running.asked))
    assert (
        str(running.error)
        == "cell 1 of 2 (a): the code did not finish within 5 s and was interrupted"
    )
    assert isinstance(running.error.reason, ec.RequestTimeout)
    assert [output["output_type"] for output in code(running.last, "a").outputs] == [
        "stream",
        "error",
    ]
    assert running.sent == ["1"]


def test_a_cell_that_is_interrupted_and_does_not_care_is_left(running: Running) -> None:
    running.begin(notebook_of("1"), timeout=5)
    running.say(busy(running.asked))
    running.remote.clock.advance_by(6)
    running.settle()
    running.remote.clock.advance_by(3)
    running.settle()
    assert isinstance(running.error.reason, ec.RequestTimeout)


def test_a_cell_whose_turn_does_not_come_interrupts_nobody(running: Running) -> None:
    running.begin(notebook_of("1"), timeout=5)
    running.remote.clock.advance_by(6)
    running.settle()
    assert isinstance(running.error.reason, ec.RequestTimeout)
    assert running.remote.lifecycle is not None
    assert running.remote.lifecycle.calls == []


def test_disposing_interrupts_the_cell_that_runs_and_sends_no_other(running: Running) -> None:
    running.begin(notebook_of("1", "2"))
    running.say(busy(running.asked))
    assert running.subscription is not None
    running.subscription.dispose()
    before = len(running.seen.items)
    running.say(*raised(running.asked)[1:])
    assert running.remote.lifecycle is not None
    assert running.remote.lifecycle.calls == ["interrupt"]
    assert (running.sent, len(running.seen.items)) == (["1"], before)


def test_who_has_seen_enough_may_leave_in_the_middle(running: Running) -> None:
    states = cm.execute(notebook_of("1", "2"), running.kernel).pipe(ops.take(2))
    states.subscribe(running.seen)
    running.settle()
    assert (len(running.seen.items), running.seen.completed) == (2, True)
    assert running.sent == []


def test_a_subscriber_that_raises_is_told_and_no_other_cell_is_sent(running: Running) -> None:
    errors: list[ec.EnchannelError] = []
    running.kernel.errors.subscribe(errors.append)

    def raises(state: cm.Notebook) -> None:
        if text(state, "a"):
            raise ZeroDivisionError("mine")

    cm.execute(notebook_of("1", "2"), running.kernel).subscribe(raises)
    running.answer(prints("x"))
    assert [type(error) for error in errors] == [ec.SubscriberRaised]
    assert running.sent == ["1"]


# -- where outputs go -----------------------------------------------------------------------------------


def test_what_a_thread_prints_late_goes_to_the_cell_that_started_it(running: Running) -> None:
    running.begin(notebook_of("1", "2"))
    first = running.asked
    running.answer(prints("begun, "))
    running.say(busy(running.asked), printed("second", running.asked))
    running.say(printed("and done", first))
    assert [text(running.last, id) for id in "ab"] == ["begun, and done", "second"]
    assert "execution" in code(running.last, "a").metadata


@pytest.mark.parametrize("fails", [False, True])
def test_what_the_last_cell_says_after_its_end_is_waited_for(running: Running, fails: bool) -> None:
    running.attentive = False
    running.begin(notebook_of("1"))
    request = running.asked
    running.say(*(raised(request) if fails else answered(request)))
    assert statuses(running.last) == [IDLE]
    assert running.is_asked_whether_it_is_done
    running.say(printed("late", request))
    assert not running.seen.ended
    running.say(*answered(running.asked))
    last = running.error.notebook if fails else running.last
    assert text(last, "a").endswith("late")
    assert running.seen.completed is not fails


def test_a_kernel_that_is_at_something_else_is_not_waited_for_long(running: Running) -> None:
    running.attentive = False
    running.begin(notebook_of("1"))
    running.answer()
    assert not running.seen.ended
    running.remote.clock.advance_by(1.0)
    running.settle()
    assert running.seen.completed


def test_who_leaves_while_late_output_is_waited_for_interrupts_nothing(running: Running) -> None:
    running.attentive = False
    running.begin(notebook_of("1"))
    running.answer()
    assert running.subscription is not None
    running.subscription.dispose()
    running.say(*answered(running.asked))
    assert not running.seen.ended
    assert running.remote.lifecycle is not None
    assert not running.remote.lifecycle.calls


def test_where_nothing_runs_the_kernel_is_asked_nothing(running: Running) -> None:
    running.begin(cm.empty_notebook)
    assert running.seen.completed
    assert not running.remote.received[ChannelName.SHELL]


def test_what_comes_with_the_end_is_late_and_comes_once(running: Running) -> None:
    """On a loop two subscriptions are delivered in batches, one after the other."""
    running.begin(notebook_of("1", "2"))
    first = running.asked
    running.say(
        busy(first),
        *(printed(f"{number} ", first) for number in range(5)),
        reply_to(first),
        idle(first),
        printed("late", first),
    )
    assert text(running.last, "a") == "0 1 2 3 4 late"


def test_nothing_of_others_is_shown(running: Running) -> None:
    running.begin(notebook_of("1"))
    other = ec.execute_request("other")
    running.say(busy(running.asked), printed("other", other), printed("nobody's"))
    assert text(running.last, "a") == ""


def test_a_display_is_updated_wherever_it_stands(running: Running) -> None:
    running.begin(notebook_of("1", "2", "3"))
    running.answer(partial(shown, "old", "d"))
    running.answer(
        partial(shown, "other", "e"), partial(shown, "new", "d", kind="update_display_data")
    )
    assert text(running.last, "a") == "new"
    running.answer(partial(shown, "newest", "d"))
    assert [text(running.last, id) for id in "abc"] == ["newest", "other", "newest"]


def test_a_display_of_an_earlier_run_is_updated_as_well(running: Running) -> None:
    running.begin(notebook_of("1", "2"), cells=["a"])
    running.answer(partial(shown, "old", "d"))
    again: Collector[cm.Notebook] = Collector()
    cm.execute(running.last, running.kernel, cells=["b"]).subscribe(again)
    running.answer(partial(shown, "new", "d", kind="update_display_data"))
    assert text(again.items[-1], "a") == "new"


def test_what_was_cleared_is_not_updated(running: Running) -> None:
    running.begin(notebook_of("1", "2"))
    running.answer(partial(shown, "old", "d"), lambda request: build.clear_output(parent=request))
    running.answer(partial(shown, "new", "d", kind="update_display_data"))
    assert text(running.last, "a") == ""


def test_what_waits_to_be_cleared_is_cleared_by_the_next(running: Running) -> None:
    running.begin(notebook_of("1"))
    running.say(busy(running.asked), printed("old", running.asked))
    before = len(running.seen.items)
    running.say(build.clear_output(True, parent=running.asked))
    assert len(running.seen.items) == before
    running.say(printed("new", running.asked))
    assert text(running.last, "a") == "new"


def test_of_a_progress_bar_the_last_state_is_kept(running: Running) -> None:
    running.begin(notebook_of("1"))
    running.answer(*(prints(f"\r{percent}%") for percent in range(0, 101, 10)))
    assert code(running.last, "a").outputs == [
        {"output_type": "stream", "name": "stdout", "text": "100%"}
    ]


# -- times ----------------------------------------------------------------------------------------------


def test_times_are_noted_as_jupyterlab_notes_them(running: Running) -> None:
    running.begin(notebook_of("1"))
    request = running.asked
    begun = build.execute_input("1", 1, parent=request)
    reply = reply_to(request).replace(metadata={"started": "2026-01-01T00:00:01Z"})
    running.say(*dated([busy(request), begun, reply, idle(request)]))
    assert code(running.last, "a").metadata == {
        "execution": {
            "iopub.status.busy": "2026-01-01T00:00:00Z",
            "iopub.execute_input": "2026-01-01T00:00:01Z",
            "shell.execute_reply.started": "2026-01-01T00:00:01Z",
            "shell.execute_reply": "2026-01-01T00:00:02Z",
            "iopub.status.idle": "2026-01-01T00:00:03Z",
        }
    }


def test_no_times_are_noted_if_nobody_wants_them(running: Running) -> None:
    running.begin(notebook_of("1"), record_timing=False)
    running.answer()
    assert code(running.last, "a").metadata == {}


def test_times_of_an_earlier_run_do_not_stay(running: Running) -> None:
    metadata = {"execution": {"iopub.status.busy": "then"}, "tags": ["mine"]}
    running.begin(cm.set_cell_metadata(notebook_of("1"), "a", metadata))
    assert code(running.last, "a").metadata == {"tags": ["mine"]}


# -- input ----------------------------------------------------------------------------------------------


def test_code_may_ask_where_somebody_answers(running: Running) -> None:
    running.begin(notebook_of("1"), on_input=lambda prompt, password: f"{prompt}{password}")
    request = running.asked
    assert request.content["allow_stdin"] is True
    running.say(busy(request), build.input_request("who? ", password=True, parent=request))
    assert running.remote.received[ChannelName.STDIN][-1].content["value"] == "who? True"


def test_code_may_not_ask_where_nobody_answers(running: Running) -> None:
    running.begin(notebook_of("1"))
    assert running.asked.content["allow_stdin"] is False


def test_what_others_have_queued_is_not_aborted(running: Running) -> None:
    running.begin(notebook_of("1"))
    assert running.asked.content["stop_on_error"] is False
