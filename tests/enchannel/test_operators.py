"""The operators on messages: the values that each emits, and the rules that all follow."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, assert_type

import pytest
import reactivex
from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.scheduler import CurrentThreadScheduler
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.subscription import Subscription

from enchannel._outputs.output import DisplayOutput, Output
from enchannel._outputs.outputs import Outputs
from enchannel._outputs.result import Result
from enchannel._protocol.message import AnyMessage, Message, create_message
from enchannel._rx import operators as ops
from enchannel._rx.of_message_type import of_message_type
from enchannel.contents import CONTENT_TYPES, InputRequest, Payload, Stream
from enchannel.errors import ConnectionLost, KernelDied, KernelError, RequestAborted

on_next, on_error, on_completed = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
)
Operator = Callable[[Observable[Any]], Observable[Any]]

REQUEST = create_message("execute_request", {"code": "1"})
OTHER = create_message("execute_request", {"code": "2"})


def published(
    msg_type: str, /, *, parent: AnyMessage | None = REQUEST, **content: Any
) -> AnyMessage:
    return create_message(msg_type, content, channel="iopub", parent=parent)


def replied(*, parent: AnyMessage = REQUEST, **content: Any) -> AnyMessage:
    return create_message("execute_reply", content, channel="shell", parent=parent)


def out(text: str) -> AnyMessage:
    return published("stream", name="stdout", text=text)


def status(state: str, parent: AnyMessage = REQUEST) -> AnyMessage:
    return published("status", execution_state=state, parent=parent)


def display(text: str) -> AnyMessage:
    transient = {"display_id": "a"}
    return published("display_data", data={"text/plain": text}, metadata={}, transient=transient)


def update(text: str) -> AnyMessage:
    transient = {"display_id": "a"}
    return published(
        "update_display_data", data={"text/plain": text}, metadata={}, transient=transient
    )


BUSY, IDLE = status("busy"), status("idle")
OK = replied(status="ok", execution_count=1)


def items(operator: Operator, messages: Iterable[Any]) -> list[Any]:
    picked: list[Any] = []
    completed: list[bool] = []
    source = reactivex.from_iterable(messages).pipe(operator)
    source.subscribe(picked.append, on_completed=lambda: completed.append(True))
    assert completed
    return picked


# Emitted values.


@dataclass
class Case:
    operator: Operator
    messages: list[Any]
    picked: list[Any]


A, B = out("a"), out("b")
FAKE = published("fake", execution_state="idle")
ON_COMM = published("comm_msg", comm_id="1", data={})
TO_COMM = create_message("comm_close", {"comm_id": "1", "data": {}})
SHOWN_X = {"output_type": "display_data", "data": {"text/plain": "x"}, "metadata": {}}
ERROR: dict[str, Any] = {"ename": "E", "evalue": "why", "traceback": ["where"]}
PAGE = {"source": "page", "start": 0, "data": {"text/plain": "help"}}
NEXT = {"source": "set_next_input", "text": "1", "replace": False}
INPUT_REQUEST: dict[str, Any] = {"prompt": "Name: ", "password": False}

PICKED = {
    "of a type": Case(of_message_type("stream"), [BUSY, A, OK, B, IDLE], [A, B]),
    "of several types": Case(of_message_type("stream", "status"), [BUSY, A, OK], [BUSY, A]),
    "of a type that the protocol does not know": Case(of_message_type("mine"), [A], []),
    "of no type": Case(of_message_type(), [A, OK], []),
    "of a comm": Case(
        ops.with_comm_id("1"),
        [A, ON_COMM, published("comm_msg", comm_id="2", data={}), TO_COMM],
        [ON_COMM, TO_COMM],
    ),
    "outputs": Case(
        ops.outputs(),
        [
            BUSY,
            A,
            A,
            display("x"),
            update("y"),
            published("execute_result", execution_count=3, data={"text/plain": "x"}, metadata={}),
            published("clear_output", wait=False),
            published("error", **ERROR),
            OK,
        ],
        [
            {"output_type": "stream", "name": "stdout", "text": "a"},
            {"output_type": "stream", "name": "stdout", "text": "a"},
            SHOWN_X,
            {**SHOWN_X, "output_type": "execute_result", "execution_count": 3},
            {"output_type": "error", **ERROR},
        ],
    ),
    "updated outputs": Case(
        ops.updated_outputs(),
        [A, display("y"), update("x"), published("update_display_data")],
        [
            {**SHOWN_X, "transient": {"display_id": "a"}},
            {"output_type": "display_data", "data": {}, "metadata": {}, "transient": {}},
        ],
    ),
    "payloads": Case(
        ops.payloads(),
        [
            A,
            replied(status="ok", payload=[PAGE, NEXT]),
            replied(payload=[PAGE]),
            published("fake", payload=[PAGE]),
        ],
        [PAGE, NEXT, PAGE],
    ),
    "no payloads": Case(
        ops.payloads(),
        [
            OK,
            replied(status="ok", payload=None),
            replied(status="ok", payload={"a": 1}),
            replied(status="ok", payload=["page", None]),
            replied(status="error", payload=[PAGE]),
        ],
        [],
    ),
    "execution counts": Case(
        ops.execution_counts(),
        [
            BUSY,
            published("execute_input", code="1", execution_count=1),
            A,
            replied(execution_count=1),
        ]
        + [published("execute_input", parent=OTHER, code="2", execution_count=2)],
        [1, 2],
    ),
    "execution counts that only replies have": Case(
        ops.execution_counts(),
        [replied(execution_count=1), replied(parent=OTHER, execution_count=1)],
        [1, 1],
    ),
    "execution counts of duplicate input messages": Case(
        ops.execution_counts(),
        [published("execute_input", code="1", execution_count=1)] * 2,
        [1, 1],
    ),
    "no execution counts": Case(
        ops.execution_counts(),
        [replied(), replied(execution_count=None), published("execute_input", execution_count="1")],
        [],
    ),
    "kernel statuses": Case(
        ops.kernel_statuses(),
        [
            status("starting"),
            BUSY,
            A,
            published("status"),
            published("status", execution_state=None),
            IDLE,
        ],
        ["starting", "busy", "idle"],
    ),
    "input requests": Case(
        ops.input_requests(), [A, published("input_request", **INPUT_REQUEST)], [INPUT_REQUEST]
    ),
    "outputs so far": Case(
        ops.accumulate_outputs(),
        [BUSY, A, OK, B, published("clear_output", wait=True), IDLE, B, published("clear_output")],
        [
            [{"output_type": "stream", "name": "stdout", "text": "a"}],
            [{"output_type": "stream", "name": "stdout", "text": "ab"}],
            [{"output_type": "stream", "name": "stdout", "text": "b"}],
            [],
        ],
    ),
    "no outputs": Case(ops.accumulate_outputs(), [BUSY, OK, IDLE], [[]]),
    "outputs so far, updated": Case(
        ops.accumulate_outputs(),
        [display("y"), update("x"), update("x")],
        [[{**SHOWN_X, "data": {"text/plain": "y"}}], [SHOWN_X]],
    ),
    "until idle": Case(ops.until_idle(), [BUSY, FAKE, A, IDLE, B], [BUSY, FAKE, A, IDLE]),
    "until the idle of a request": Case(
        ops.until_idle(REQUEST),
        [
            status("idle", OTHER),
            published("status", parent=None, execution_state="idle"),
            A,
            IDLE,
            B,
        ],
        [status("idle", OTHER), published("status", parent=None, execution_state="idle"), A, IDLE],
    ),
    "until the idle of a header": Case(ops.until_idle(REQUEST.header), [A, IDLE, B], [A, IDLE]),
    "never idle": Case(
        ops.until_idle(), [BUSY, published("status"), OK], [BUSY, published("status"), OK]
    ),
}


def without_ids(values: list[Any]) -> list[Any]:
    """Return messages without ids, which differ between otherwise equal messages."""
    return [
        (v.header.msg_type, v.parent_header, v.content) if isinstance(v, Message) else v
        for v in values
    ]


@pytest.mark.parametrize("case", PICKED.values(), ids=PICKED.keys())
def test_operator_emits(case: Case) -> None:
    assert without_ids(items(case.operator, case.messages)) == without_ids(case.picked)


# Common rules.

OPERATORS: dict[str, Operator] = {
    "of_message_type": of_message_type("stream", "status"),
    "with_comm_id": ops.with_comm_id("1"),
    "outputs": ops.outputs(),
    "updated_outputs": ops.updated_outputs(),
    "payloads": ops.payloads(),
    "execution_counts": ops.execution_counts(),
    "kernel_statuses": ops.kernel_statuses(),
    "input_requests": ops.input_requests(),
    "accumulate_outputs": ops.accumulate_outputs(),
    "until_idle": ops.until_idle(),
    "to_result": ops.to_result(),
    "check": ops.check(),
}
each_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS.keys())


def test_every_operator_is_tested() -> None:
    assert OPERATORS.keys() == {*ops.__all__, "of_message_type"}


@each_operator
def test_operator_passes_errors_on(operator: Operator) -> None:
    scheduler, error = TestScheduler(), ValueError("broken")
    source = scheduler.create_hot_observable(on_error(300, error))
    results = scheduler.start(lambda: source.pipe(operator))
    assert results.messages == [on_error(300, error)]
    assert source.subscriptions == [Subscription(200, 300)]


@each_operator
def test_operator_passes_completion_on(operator: Operator) -> None:
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(on_completed(300))
    results = scheduler.start(lambda: source.pipe(operator))
    assert results.messages[-1:] == [on_completed(300)]
    assert source.subscriptions == [Subscription(200, 300)]


@each_operator
def test_operator_unsubscribes_on_dispose(operator: Operator) -> None:
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(on_next(210, A), on_next(400, A))
    results = scheduler.start(lambda: source.pipe(operator), disposed=300)
    assert [message.time for message in results.messages if message.time > 300] == []
    assert source.subscriptions == [Subscription(200, 300)]


@each_operator
def test_operator_passes_scheduler_to_source(operator: Operator) -> None:
    seen: list[abc.SchedulerBase | None] = []

    def subscribe(
        observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        seen.append(scheduler)
        return Disposable()

    scheduler = CurrentThreadScheduler()
    source: Observable[Any] = Observable(subscribe).pipe(operator)
    source.subscribe(scheduler=scheduler)
    source.subscribe()
    assert seen == [scheduler, None]


@each_operator
def test_operator_survives_any_content(operator: Operator) -> None:
    odd: list[Any] = [None, {}, object()]
    odd += [published(msg_type, parent=None) for msg_type in CONTENT_TYPES]
    odd += [create_message(msg_type) for msg_type in CONTENT_TYPES]
    subject: Subject[Any] = Subject()
    ended: list[Any] = []
    subject.pipe(operator).subscribe(on_error=ended.append, on_completed=lambda: ended.append(1))
    for message in odd:
        subject.on_next(message)
    assert ended == []


@each_operator
def test_operator_state_is_per_subscription(operator: Operator) -> None:
    messages = [
        BUSY,
        published("execute_input", code="1", execution_count=1),
        A,
        display("x"),
        OK,
        IDLE,
    ]
    source = reactivex.from_iterable(messages).pipe(operator)
    first: list[Any] = []
    second: list[Any] = []
    source.subscribe(first.append)
    source.subscribe(second.append)
    assert [timeless(item) for item in first] == [timeless(item) for item in second]


def timeless(item: Any) -> Any:
    return dataclasses.replace(item, duration=0.0) if isinstance(item, Result) else item


@each_operator
def test_operator_does_not_catch_subscriber_errors(operator: Operator) -> None:
    """Channels guard subscribers; an operator neither hides the exception nor passes it to on_error."""
    errors: list[Exception] = []

    def fail(item: object) -> None:
        raise RuntimeError("mine")

    subject: Subject[Any] = Subject()
    subject.pipe(operator).subscribe(fail, errors.append)
    messages = [A, ON_COMM, update("x"), replied(payload=[PAGE], execution_count=1)]

    def say_all() -> None:
        for message in [*messages, published("input_request", **INPUT_REQUEST), IDLE]:
            subject.on_next(message)
        subject.on_completed()

    with pytest.raises(RuntimeError, match="mine"):
        say_all()
    assert errors == []


# The operator until_idle.


def test_until_idle_completes_and_unsubscribes() -> None:
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(
        on_next(210, BUSY), on_next(220, IDLE), on_next(230, A)
    )
    results = scheduler.start(lambda: source.pipe(ops.until_idle()))
    assert results.messages == [on_next(210, BUSY), on_next(220, IDLE), on_completed(220)]
    assert source.subscriptions == [Subscription(200, 220)]


# The operator to_result.


def test_to_result_emits_on_completion() -> None:
    scheduler = TestScheduler()
    source = scheduler.create_hot_observable(
        on_next(210, BUSY), on_next(220, A), on_next(230, B), on_next(240, OK), on_completed(250)
    )
    results = scheduler.start(lambda: source.pipe(ops.to_result()))
    outputs = Outputs().add(out("ab"))
    expected = Result(status="ok", outputs=outputs, execution_count=1, duration=50.0, reply=OK)
    assert results.messages == [on_next(250, expected), on_completed(250)]


def test_to_result_measures_real_time_by_default() -> None:
    (result,) = items(ops.to_result(), [OK])
    assert 0 <= result.duration < 60


def failure_of(operator: Operator, source: Observable[Any]) -> Exception:
    errors: list[Exception] = []
    got: list[Any] = []
    source.pipe(operator).subscribe(got.append, errors.append)
    assert got == []
    (error,) = errors
    return error


def test_to_result_fails_if_code_raised() -> None:
    reply = replied(status="error", ename="E", evalue="why")
    error = failure_of(ops.to_result(), reactivex.of(A, reply))
    assert isinstance(error, KernelError)
    assert str(error) == "E: why"
    assert error.result is not None
    assert error.result.text == "a"


def test_to_result_fails_if_code_was_not_run() -> None:
    error = failure_of(ops.to_result(), reactivex.of(replied(status="aborted")))
    assert isinstance(error, RequestAborted)
    assert error.result is not None
    assert error.result.status == "aborted"


@pytest.mark.parametrize("status", ["error", "aborted"])
def test_to_result_unchecked_emits_failed_result(status: str) -> None:
    (result,) = items(ops.to_result(check=False), [replied(status=status)])
    assert result.status == status


def test_to_result_limits_output() -> None:
    (result,) = items(ops.to_result(max_output=3), [out("abcd"), OK])
    assert result.text == "abc"
    assert result.truncated


def test_to_result_without_messages_is_incomplete() -> None:
    (result,) = items(ops.to_result(), [])
    assert result.status == "incomplete"


def test_to_result_adds_result_to_error() -> None:
    died = KernelDied("the kernel died", exit_code=-9, stderr="Killed")
    error = failure_of(
        ops.to_result(), reactivex.concat(reactivex.of(BUSY, A), reactivex.throw(died))
    )
    assert isinstance(error, KernelDied)
    assert (error.exit_code, error.stderr, str(error)) == (-9, "Killed", "the kernel died")
    assert error.result is not None
    assert error.result.status == "incomplete"
    assert error.result.text == "a"


def test_to_result_copies_error_per_subscriber() -> None:
    """The source passes the same exception to all of them."""
    lost = ConnectionLost("gone")
    subject: Subject[AnyMessage] = Subject()
    errors: list[Exception] = []
    results = subject.pipe(ops.to_result())
    results.subscribe(on_error=errors.append)
    subject.on_next(A)
    results.subscribe(on_error=errors.append)
    subject.on_next(B)
    subject.on_error(lost)
    texts = [
        error.result.text for error in errors if isinstance(error, ConnectionLost) and error.result
    ]
    assert texts == ["ab", "b"]
    assert lost.result is None


def test_to_result_keeps_existing_result() -> None:
    lost = ConnectionLost("gone")
    lost.result = Result(status="ok")
    assert failure_of(ops.to_result(), reactivex.throw(lost)) is lost


# The operator check.


def passed(*messages: AnyMessage) -> tuple[list[AnyMessage], Exception | None]:
    """Return the messages and the error that ``check`` emits."""
    seen: list[AnyMessage] = []
    errors: list[Exception] = []
    reactivex.of(*messages).pipe(ops.check()).subscribe(seen.append, errors.append)
    return seen, errors[0] if errors else None


def failed(evalue: str, parent: AnyMessage = REQUEST, **content: Any) -> AnyMessage:
    return replied(parent=parent, status="error", ename="E", evalue=evalue, **content)


def test_check_passes_successful_request() -> None:
    assert passed(BUSY, A, OK, IDLE) == ([BUSY, A, OK, IDLE], None)


def test_check_fails_after_messages_if_code_raised() -> None:
    messages = [BUSY, failed("why"), A, IDLE]
    seen, error = passed(*messages)
    assert seen == messages
    assert isinstance(error, KernelError)
    assert (str(error), error.result) == ("E: why", None)


def test_check_completes_reply_from_error_message() -> None:
    raised = published("error", ename="E", evalue="why", traceback=["line 1"])
    _, error = passed(raised, replied(status="error"))
    assert isinstance(error, KernelError)
    assert (error.ename, error.evalue, error.traceback) == ("E", "why", ("line 1",))


@pytest.mark.parametrize("status", ["aborted", "abort"])
def test_check_fails_if_code_was_not_run(status: str) -> None:
    _, error = passed(replied(status=status))
    assert isinstance(error, RequestAborted)


def test_check_fails_at_completion_time() -> None:
    scheduler = TestScheduler()
    reply = failed("why")
    source = scheduler.create_hot_observable(
        on_next(210, reply), on_next(220, IDLE), on_completed(230)
    )
    results = scheduler.start(lambda: source.pipe(ops.check()))
    assert results.messages[:-1] == [on_next(210, reply), on_next(220, IDLE)]
    assert results.messages[-1].time == 230
    assert "E: why" in str(results.messages[-1].value)
    assert source.subscriptions == [Subscription(200, 230)]


def test_check_finds_error_without_reply() -> None:
    """On iopub alone there is no reply."""
    _, error = passed(BUSY, published("error", ename="E", evalue="why", traceback=[]), IDLE)
    assert isinstance(error, KernelError)
    assert str(error) == "E: why"


def test_check_accepts_error_before_successful_reply() -> None:
    _, error = passed(published("error", ename="E", evalue="why", traceback=[]), OK)
    assert error is None


def test_check_finds_first_of_several_failures() -> None:
    others = replied(parent=OTHER, status="ok")
    _, error = passed(failed("first"), others, failed("second", parent=OTHER), others)
    assert str(error) == "E: first"


def test_check_ignores_reply_on_wrong_channel() -> None:
    _, error = passed(published("execute_reply", status="error"))
    assert error is None


def test_check_before_to_result_keeps_outputs() -> None:
    source = reactivex.of(A, failed("why"), OK)
    error = failure_of(lambda o: o.pipe(ops.check(), ops.to_result()), source)
    assert isinstance(error, KernelError)
    assert error.result is not None
    assert error.result.text == "a"


# Types.


def test_operator_types_in_a_pipe() -> None:
    source: Observable[AnyMessage] = reactivex.never()
    streams = source.pipe(of_message_type("stream"))
    assert_type(streams.pipe(ops.with_comm_id("1")), Observable[Message[Stream]])
    assert_type(streams.pipe(ops.until_idle()), Observable[Message[Stream]])
    assert_type(source.pipe(ops.until_idle(REQUEST), ops.outputs()), Observable[Output])
    assert_type(source.pipe(ops.updated_outputs()), Observable[DisplayOutput])
    assert_type(source.pipe(ops.payloads()), Observable[Payload])
    assert_type(source.pipe(ops.execution_counts()), Observable[int])
    assert_type(source.pipe(ops.kernel_statuses()), Observable[str])
    assert_type(source.pipe(ops.input_requests()), Observable[InputRequest])
    assert_type(source.pipe(ops.accumulate_outputs()), Observable[Outputs])
    assert_type(source.pipe(ops.until_idle(), ops.to_result()), Observable[Result])
    assert_type(streams.pipe(ops.check()), Observable[Message[Stream]])
    assert_type(source.pipe(ops.check(), ops.outputs()), Observable[Output])
