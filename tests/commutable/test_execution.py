"""Notebook runs against an in-memory kernel that sends its messages on the instruction of a test."""

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
from commutable._execution.notebook_run import NotebookRun
from enchannel import AnyMessage, ChannelName, messages
from enchannel.testing import Collector
from tests.rigs.messages import answered, busy, idle, printed, reply_to, started
from tests.rigs.scripted import ScriptedLifecycle, ScriptedLink, settle

QUEUED, RUNNING, IDLE = cm.CellStatus.QUEUED, cm.CellStatus.RUNNING, cm.CellStatus.IDLE


def notebook_of(*sources: str, **tags: str) -> cm.Notebook:
    """Return a notebook of code cells a, b, …; a keyword argument gives the cell of that id a tag."""
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


def error_reply_to(request: AnyMessage, ename: str = "E") -> list[AnyMessage]:
    content: dict[str, Any] = {"ename": ename, "evalue": "why", "traceback": ["where"]}
    error = messages.error(ename, "why", ["where"], parent=request)
    return [busy(request), error, reply_to(request, status="error", **content), idle(request)]


def display(value: str, id: str, request: AnyMessage, kind: str = "display_data") -> AnyMessage:
    content = {"data": {"text/plain": value}, "metadata": {}, "transient": {"display_id": id}}
    return ec.create_message(kind, content, channel="iopub", parent=request)


class Running:
    """A notebook run in an in-memory kernel with virtual time."""

    def __init__(self, remote: ScriptedLink, kernel: ec.Kernel, *, on_loop: bool) -> None:
        self.remote = remote
        self.kernel = kernel
        self.collector: Collector[cm.Notebook] = Collector()
        self._on_loop = on_loop
        # If True, the kernel answers the kernel_info_request after the last cell.
        self.answers_kernel_info = True
        self.subscription: abc.DisposableBase | None = None

    def start(self, notebook: cm.Notebook, **options: Any) -> None:
        states = cm.execute(notebook, self.kernel, **options)
        scheduler = self.remote.clock if self._on_loop else None
        self.subscription = states.subscribe(self.collector, scheduler=scheduler)
        self.settle()

    def send(self, *messages: AnyMessage) -> None:
        before = self.last_request
        self.remote.send(*messages)
        self.settle()
        if (
            self.last_request is not before
            and self.has_received_kernel_info_request
            and self.answers_kernel_info
        ):
            self.remote.send(*answered(self.last_request))
            self.settle()

    def answer(self, *outputs: Callable[[AnyMessage], AnyMessage], **content: Any) -> None:
        """Answer the last request successfully, with the given outputs."""
        request = self.last_request
        self.send(*dated(answered(request, *(output(request) for output in outputs), **content)))

    def settle(self) -> None:
        """Wait until all messages are delivered."""
        settle(self.kernel)
        if self._on_loop:
            self.remote.clock.advance_by(0.01)
            settle(self.kernel)
            self.remote.clock.advance_by(0.01)

    @property
    def last_request(self) -> AnyMessage:
        return self.remote.last_request

    @property
    def has_received_kernel_info_request(self) -> bool:
        return self.last_request.header.msg_type == "kernel_info_request"

    @property
    def sent_code(self) -> list[str]:
        return [
            message.content["code"]
            for message in self.remote.received[ChannelName.SHELL]
            if message.header.msg_type == "execute_request"
        ]

    @property
    def last(self) -> cm.Notebook:
        return self.collector.items[-1]

    @property
    def error(self) -> cm.CellFailed:
        error = self.collector.error
        assert isinstance(error, cm.CellFailed)
        return error


@pytest.fixture(params=[False, True], ids=["on the delivery thread", "on a loop"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    remote = ScriptedLink(lifecycle=ScriptedLifecycle())
    with remote.kernel() as kernel:
        yield Running(remote, kernel, on_loop=request.param)


def dated(messages: list[AnyMessage]) -> list[AnyMessage]:
    """Return the messages with a date each, as kernels send them."""
    return [
        message.replace(header=replace(message.header, date=f"2026-01-01T00:00:0{second}Z"))
        for second, message in enumerate(messages)
    ]


def prints(what: str) -> Callable[[AnyMessage], AnyMessage]:
    return partial(printed, what)


def test_execute_sends_cells_one_by_one(running: Running) -> None:
    running.start(notebook_of("1", "2"))
    assert running.sent_code == ["1"]
    running.answer(prints("one"), execution_count=7)
    assert running.sent_code == ["1", "2"]
    assert not running.collector.ended
    running.answer(prints("two"), execution_count=8)
    assert running.collector.completed
    assert [text(running.last, id) for id in "ab"] == ["one", "two"]
    assert [code(running.last, id).execution_count for id in "ab"] == [7, 8]


def test_execute_emits_state_for_each_event(running: Running) -> None:
    running.start(notebook_of("1", "2"))
    assert [statuses(state) for state in running.collector.items] == [
        [QUEUED, QUEUED],
        [RUNNING, QUEUED],
    ]
    request = running.last_request
    running.send(busy(request), messages.execute_input("1", 3, parent=request))
    assert code(running.last, "a").execution_count == 3
    running.send(printed("x", request))
    running.send(printed("y", request))
    assert [text(state, "a") for state in running.collector.items[-2:]] == ["x", "xy"]
    before = len(running.collector.items)
    running.send(reply_to(request), idle(request))
    assert [statuses(state) for state in running.collector.items[before:]] == [
        [IDLE, QUEUED],
        [IDLE, RUNNING],
    ]


def test_execute_leaves_input_notebook_unchanged(running: Running) -> None:
    notebook = cm.update_outputs(
        notebook_of("1"), "a", [{"output_type": "stream", "name": "stdout", "text": "old"}]
    )
    running.start(notebook)
    assert text(running.last, "a") == ""
    running.answer(prints("new"))
    assert (text(notebook, "a"), text(running.last, "a")) == ("old", "new")


def test_states_share_cells_that_do_not_run(running: Running) -> None:
    notebook = cm.append_cell(notebook_of("1"), cm.markdown_cell("prose", id="prose"))
    running.start(notebook)
    running.answer(prints("x"))
    assert all(state.cell("prose") is notebook.cell("prose") for state in running.collector.items)


def test_execute_skips_cells_that_are_not_runnable(running: Running) -> None:
    notebook = notebook_of("1", " \n", "3", c="skip-execution")
    notebook = cm.append_cell(notebook, cm.markdown_cell("prose"))
    assert cm.runnable_cells(notebook) == ("a",)
    running.start(notebook)
    running.answer()
    assert running.sent_code == ["1"]
    assert running.collector.completed


def test_notebook_without_code_completes_at_once(running: Running) -> None:
    running.start(cm.empty_notebook)
    assert (running.collector.items, running.collector.completed) == ([cm.empty_notebook], True)


def test_selected_cells_run_in_notebook_order(running: Running) -> None:
    running.start(notebook_of("1", "2", "3"), cells=["c", "a"])
    running.answer()
    running.answer()
    assert running.sent_code == ["1", "3"]


def test_execute_rejects_unknown_cell_id(running: Running) -> None:
    with pytest.raises(cm.CellNotFound, match="'z'"):
        cm.execute(notebook_of("1"), running.kernel, cells=["z"])


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_execute_rejects_invalid_timeout(running: Running, timeout: float) -> None:
    with pytest.raises(ValueError, match="seconds"):
        cm.execute(notebook_of("1"), running.kernel, timeout=timeout)


def test_each_subscription_runs_the_notebook(running: Running) -> None:
    states = cm.execute(notebook_of("1"), running.kernel)
    assert running.sent_code == []
    for _ in range(2):
        states.subscribe(running.collector)
        running.answer()
    assert running.sent_code == ["1", "1"]


# -- errors and timeouts ------------------------------------------------------------------------------


def test_error_stops_run_and_names_cell(running: Running) -> None:
    running.start(notebook_of("1", "2", "3"))
    running.answer(prints("one"))
    running.send(*error_reply_to(running.last_request))
    error = running.error
    assert str(error) == "cell 2 of 3 (b): E: why"
    assert (error.cell_id, error.notebook) == ("b", running.last)
    assert isinstance(error.reason, ec.KernelError)
    assert error.__cause__ is error.reason
    assert (error.reason.ename, error.reason.traceback) == ("E", ("where",))
    assert statuses(running.last) == [IDLE, IDLE, IDLE]
    assert [text(running.last, id) for id in "abc"] == ["one", "where", ""]
    assert running.sent_code == ["1", "2"]


@pytest.mark.parametrize(
    ("options", "tags"), [({"allow_errors": True}, {}), ({}, {"a": "raises-exception"})]
)
def test_allowed_errors_do_not_stop_run(running: Running, options: Any, tags: Any) -> None:
    running.start(notebook_of("1", "2", **tags), **options)
    running.send(*error_reply_to(running.last_request))
    running.answer()
    assert running.collector.completed
    assert text(running.last, "a") == "where"


def test_error_in_reply_only_becomes_output(running: Running) -> None:
    running.start(notebook_of("1"))
    running.answer(status="error", ename="E", evalue="why", traceback=[])
    assert isinstance(running.error.reason, ec.KernelError)
    assert code(running.last, "a").outputs == [
        {"output_type": "error", "ename": "E", "evalue": "why", "traceback": []}
    ]


@pytest.mark.parametrize("traceback", [[], ["\x1b[31mwhy\x1b[0m", "there"]])
def test_error_on_stderr_is_not_repeated(running: Running, traceback: list[str]) -> None:
    running.start(notebook_of("1"))
    request = running.last_request
    stderr = messages.stream("stderr", "E: why\nthere\n", parent=request)
    running.send(
        busy(request),
        stderr,
        reply_to(request, status="error", ename="", evalue="1", traceback=traceback),
        idle(request),
    )
    assert isinstance(running.error.reason, ec.KernelError)
    assert [output["output_type"] for output in code(running.last, "a").outputs] == ["stream"]


def test_error_unlike_stderr_is_kept(running: Running) -> None:
    running.start(notebook_of("1"))
    request = running.last_request
    reply = reply_to(request, status="error", ename="E", evalue="why", traceback=["where"])
    stderr = messages.stream("stderr", "a warning", parent=request)
    running.send(busy(request), stderr, reply, idle(request))
    kinds = [output["output_type"] for output in code(running.last, "a").outputs]
    assert kinds == ["stream", "error"]


@pytest.mark.parametrize("status", ["aborted", "abort"])
def test_aborted_cell_stops_run(running: Running, status: str) -> None:
    running.start(notebook_of("1", "2"), allow_errors=True)
    running.answer(status=status)
    assert isinstance(running.error.reason, ec.RequestAborted)
    assert running.sent_code == ["1"]


def test_unsendable_cell_stops_run(running: Running) -> None:
    running.start(notebook_of("1", "'\ud800'", "3"))
    running.answer(prints("one"))
    assert isinstance(running.error.reason, ec.InvalidMessage)
    assert running.error.cell_id == "b"
    assert statuses(running.last) == [IDLE, IDLE, IDLE]
    assert [text(running.last, id) for id in "abc"] == ["one", "", ""]


def test_unsendable_first_cell_stops_run(running: Running) -> None:
    running.start(notebook_of("'\ud800'"))
    assert isinstance(running.error.reason, ec.InvalidMessage)


@pytest.mark.parametrize("name", ["_start_cell", "_apply", "_finish_cell"])
def test_any_exception_in_run_fails_it(
    running: Running, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.start(notebook_of("1", "2"))
    raised = ZeroDivisionError("a fault")

    def fails(*_: object) -> None:
        raise raised

    monkeypatch.setattr(NotebookRun, name, fails)
    running.answer(prints("one"))
    assert running.error.reason is raised
    assert running.error.cell_id == ("b" if name == "_start_cell" else "a")
    assert statuses(running.last) == [IDLE, IDLE]


def test_kernel_death_keeps_earlier_outputs(running: Running) -> None:
    running.start(notebook_of("1", "2"), allow_errors=True)
    running.send(
        busy(running.last_request),
        started(running.last_request),
        printed("so far", running.last_request),
    )
    running.remote.emit_event(ec.KernelDied("it died"))
    running.settle()
    assert str(running.error) == "cell 1 of 2 (a): it died"
    assert isinstance(running.error.reason, ec.KernelDied)
    assert text(running.error.notebook, "a") == "so far"
    assert running.last is running.error.notebook


def test_closing_kernel_fails_run(running: Running) -> None:
    running.start(notebook_of("1"))
    running.kernel.close()
    if running._on_loop:
        running.remote.clock.advance_by(1)
    assert isinstance(running.error.reason, ec.ChannelClosed)


def test_execute_in_closed_kernel_fails(running: Running) -> None:
    running.kernel.close()
    cm.execute(notebook_of("1"), running.kernel).subscribe(running.collector)
    assert isinstance(running.error.reason, ec.ChannelClosed)
    assert statuses(running.last) == [IDLE]


def test_timed_out_cell_is_interrupted_with_output(
    running: Running,
) -> None:
    running.start(notebook_of("1", "2"), timeout=5)
    request = running.last_request
    running.send(busy(request), started(request), printed("working", request))
    running.remote.clock.advance_by(6)
    running.settle()
    assert running.remote.lifecycle is not None
    assert running.remote.lifecycle.calls == ["interrupt"]
    assert not running.collector.ended
    running.send(*error_reply_to(request, "KeyboardInterrupt")[1:])
    running.send(*answered(running.last_request))
    assert (
        str(running.error)
        == "cell 1 of 2 (a): the code did not finish within 5 s and was interrupted"
    )
    assert isinstance(running.error.reason, ec.RequestTimeout)
    assert [output["output_type"] for output in code(running.last, "a").outputs] == [
        "stream",
        "error",
    ]
    assert running.sent_code == ["1"]


def test_cell_ignoring_interrupt_is_abandoned(running: Running) -> None:
    running.start(notebook_of("1"), timeout=5)
    running.send(busy(running.last_request), started(running.last_request))
    running.remote.clock.advance_by(6)
    running.settle()
    running.remote.clock.advance_by(3)
    running.settle()
    assert isinstance(running.error.reason, ec.RequestTimeout)


def test_unstarted_cell_is_interrupted_when_it_starts(running: Running) -> None:
    running.start(notebook_of("1"), timeout=5)
    running.remote.clock.advance_by(6)
    running.settle()
    assert isinstance(running.error.reason, ec.RequestTimeout)
    assert running.remote.lifecycle is not None
    assert running.remote.lifecycle.calls == []
    running.send(busy(running.last_request))
    running.remote.clock.advance_by(1)
    assert running.remote.lifecycle.calls == ["interrupt"]


def test_disposal_interrupts_cell_and_stops_run(running: Running) -> None:
    running.start(notebook_of("1", "2"))
    running.send(busy(running.last_request), started(running.last_request))
    assert running.subscription is not None
    running.subscription.dispose()
    before = len(running.collector.items)
    running.send(*error_reply_to(running.last_request)[1:])
    assert running.remote.lifecycle is not None
    assert running.remote.lifecycle.calls == ["interrupt"]
    assert (running.sent_code, len(running.collector.items)) == (["1"], before)


def test_run_can_be_disposed_from_observer(running: Running) -> None:
    states = cm.execute(notebook_of("1", "2"), running.kernel).pipe(ops.take(2))
    states.subscribe(running.collector)
    running.settle()
    assert (len(running.collector.items), running.collector.completed) == (2, True)
    assert running.sent_code == []


def test_raising_subscriber_stops_run(running: Running) -> None:
    errors: list[ec.EnchannelError] = []
    running.kernel.errors.subscribe(errors.append)

    def raises(state: cm.Notebook) -> None:
        if text(state, "a"):
            raise ZeroDivisionError("mine")

    cm.execute(notebook_of("1", "2"), running.kernel).subscribe(raises)
    running.answer(prints("x"))
    assert [type(error) for error in errors] == [ec.SubscriberRaised]
    assert running.sent_code == ["1"]


# -- outputs --------------------------------------------------------------------------------------------


def test_late_output_goes_to_its_own_cell(running: Running) -> None:
    running.start(notebook_of("1", "2"))
    first = running.last_request
    running.answer(prints("begun, "))
    running.send(busy(running.last_request), printed("second", running.last_request))
    running.send(printed("and done", first))
    assert [text(running.last, id) for id in "ab"] == ["begun, and done", "second"]
    assert "execution" in code(running.last, "a").metadata


@pytest.mark.parametrize("fails", [False, True])
def test_run_waits_for_late_output_of_last_cell(running: Running, fails: bool) -> None:
    running.answers_kernel_info = False
    running.start(notebook_of("1"))
    request = running.last_request
    running.send(*(error_reply_to(request) if fails else answered(request)))
    assert statuses(running.last) == [IDLE]
    assert running.has_received_kernel_info_request
    running.send(printed("late", request))
    assert not running.collector.ended
    running.send(*answered(running.last_request))
    last = running.error.notebook if fails else running.last
    assert text(last, "a").endswith("late")
    assert running.collector.completed is not fails


def test_wait_for_late_output_times_out(running: Running) -> None:
    running.answers_kernel_info = False
    running.start(notebook_of("1"))
    running.answer()
    assert not running.collector.ended
    running.remote.clock.advance_by(1.0)
    running.settle()
    assert running.collector.completed


def test_disposal_during_late_output_is_silent(running: Running) -> None:
    running.answers_kernel_info = False
    running.start(notebook_of("1"))
    running.answer()
    assert running.subscription is not None
    running.subscription.dispose()
    running.send(*answered(running.last_request))
    assert not running.collector.ended
    assert running.remote.lifecycle is not None
    assert not running.remote.lifecycle.calls


def test_notebook_without_code_sends_no_request(running: Running) -> None:
    running.start(cm.empty_notebook)
    assert running.collector.completed
    assert not running.remote.received[ChannelName.SHELL]


def test_output_after_idle_arrives_once(running: Running) -> None:
    """On an event loop two subscriptions are delivered in batches, one after the other."""
    running.start(notebook_of("1", "2"))
    first = running.last_request
    running.send(
        busy(first),
        *(printed(f"{number} ", first) for number in range(5)),
        reply_to(first),
        idle(first),
        printed("late", first),
    )
    assert text(running.last, "a") == "0 1 2 3 4 late"


def test_outputs_of_other_requests_are_ignored(running: Running) -> None:
    running.start(notebook_of("1"))
    other = ec.execute_request("other")
    running.send(busy(running.last_request), printed("other", other), printed("no parent"))
    assert text(running.last, "a") == ""


def test_display_update_reaches_every_cell(running: Running) -> None:
    running.start(notebook_of("1", "2", "3"))
    running.answer(partial(display, "old", "d"))
    running.answer(
        partial(display, "other", "e"), partial(display, "new", "d", kind="update_display_data")
    )
    assert text(running.last, "a") == "new"
    running.answer(partial(display, "newest", "d"))
    assert [text(running.last, id) for id in "abc"] == ["newest", "other", "newest"]


def test_display_of_earlier_run_is_updated(running: Running) -> None:
    running.start(notebook_of("1", "2"), cells=["a"])
    running.answer(partial(display, "old", "d"))
    again: Collector[cm.Notebook] = Collector()
    cm.execute(running.last, running.kernel, cells=["b"]).subscribe(again)
    running.answer(partial(display, "new", "d", kind="update_display_data"))
    assert text(again.items[-1], "a") == "new"


def test_cleared_display_is_not_updated(running: Running) -> None:
    running.start(notebook_of("1", "2"))
    running.answer(
        partial(display, "old", "d"), lambda request: messages.clear_output(parent=request)
    )
    running.answer(partial(display, "new", "d", kind="update_display_data"))
    assert text(running.last, "a") == ""


def comm(kind: str, state: Any, request: AnyMessage) -> AnyMessage:
    content = {"comm_id": "w", "data": {"state": state}, "target_name": "jupyter.widget"}
    return ec.create_message(kind, content, channel="iopub", parent=request)


MODEL = {"_model_module": "@jupyter-widgets/output", "_model_name": "OutputModel"}


def test_output_widget_captures_outputs(running: Running) -> None:
    running.start(notebook_of("1"))
    request = running.last_request
    capture = {"msg_id": request.header.msg_id}
    running.send(
        busy(request),
        comm("comm_open", {**MODEL, "outputs": [], "msg_id": ""}, request),
        printed("before, ", request),
        comm("comm_msg", capture, request),
        printed("captured", request),
        display("one", "d", request),
        comm("comm_msg", {"msg_id": ""}, request),
        printed("after", request),
        display("two", "d", request, "update_display_data"),
    )
    assert text(running.last, "a") == "before, after"
    update = running.last_request
    assert update.header.msg_type == "comm_msg"
    assert update.parent_header.msg_id == request.header.msg_id
    sent = update.content["data"]["state"]["outputs"]
    assert [output.get("text") or output["data"]["text/plain"] for output in sent] == [
        "captured",
        "two",
    ]
    assert "widgets" not in running.last.metadata
    running.send(reply_to(request), idle(request))
    assert running.collector.completed
    (saved,) = running.last.metadata["widgets"].values()
    assert saved["state"]["w"]["state"]["outputs"] == sent
    assert saved["state"]["w"]["model_name"] == "OutputModel"


@pytest.mark.parametrize(
    "state", [None, 1, {"msg_id": 5}, {"outputs": 1}, {"outputs": [1]}, {"outputs": [{}]}]
)
def test_odd_widget_state_ends_no_run(running: Running, state: Any) -> None:
    running.start(notebook_of("1"))
    request = running.last_request
    opened = comm("comm_open", MODEL, request)
    running.send(busy(request), opened, comm("comm_msg", state, request), printed("x", request))
    running.send(reply_to(request), idle(request))
    assert running.collector.completed
    assert text(running.last, "a") == "x"


def test_widget_state_is_kept_after_failure(running: Running) -> None:
    running.start(notebook_of("1"))
    request = running.last_request
    running.send(busy(request), comm("comm_open", MODEL, request))
    running.remote.emit_event(ec.KernelDied("it died"))
    running.settle()
    assert "widgets" in running.error.notebook.metadata


def test_delayed_clear_waits_for_next_output(running: Running) -> None:
    running.start(notebook_of("1"))
    running.send(busy(running.last_request), printed("old", running.last_request))
    before = len(running.collector.items)
    running.send(messages.clear_output(True, parent=running.last_request))
    assert len(running.collector.items) == before
    running.send(printed("new", running.last_request))
    assert text(running.last, "a") == "new"


def test_progress_bar_keeps_last_state(running: Running) -> None:
    running.start(notebook_of("1"))
    running.answer(*(prints(f"\r{percent}%") for percent in range(0, 101, 10)))
    assert code(running.last, "a").outputs == [
        {"output_type": "stream", "name": "stdout", "text": "100%"}
    ]


# -- times ----------------------------------------------------------------------------------------------


def test_execution_times_have_jupyterlab_keys(running: Running) -> None:
    running.start(notebook_of("1"))
    request = running.last_request
    begun = messages.execute_input("1", 1, parent=request)
    reply = reply_to(request).replace(metadata={"started": "2026-01-01T00:00:01Z"})
    running.send(*dated([busy(request), begun, reply, idle(request)]))
    assert code(running.last, "a").metadata == {
        "execution": {
            "iopub.status.busy": "2026-01-01T00:00:00Z",
            "iopub.execute_input": "2026-01-01T00:00:01Z",
            "shell.execute_reply.started": "2026-01-01T00:00:01Z",
            "shell.execute_reply": "2026-01-01T00:00:02Z",
            "iopub.status.idle": "2026-01-01T00:00:03Z",
        }
    }


def test_execution_times_can_be_disabled(running: Running) -> None:
    running.start(notebook_of("1"), record_timing=False)
    running.answer()
    assert code(running.last, "a").metadata == {}


def test_execution_times_of_earlier_run_are_removed(running: Running) -> None:
    metadata = {"execution": {"iopub.status.busy": "then"}, "tags": ["mine"]}
    running.start(cm.set_cell_metadata(notebook_of("1"), "a", metadata))
    assert code(running.last, "a").metadata == {"tags": ["mine"]}


# -- input ----------------------------------------------------------------------------------------------


def test_input_is_answered_by_on_input(running: Running) -> None:
    running.start(notebook_of("1"), on_input=lambda request: f"{request.prompt}{request.password}")
    request = running.last_request
    assert request.content["allow_stdin"] is True
    running.send(busy(request), messages.input_request("who? ", password=True, parent=request))
    assert running.remote.received[ChannelName.STDIN][-1].content["value"] == "who? True"


def test_input_without_on_input_is_not_allowed(running: Running) -> None:
    running.start(notebook_of("1"))
    assert running.last_request.content["allow_stdin"] is False


def test_cell_error_does_not_abort_queue(running: Running) -> None:
    running.start(notebook_of("1"))
    assert running.last_request.content["stop_on_error"] is False
