"""Results: built from the messages of a request at any time, within the output limit."""

import copy
import dataclasses
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enchannel._outputs.outputs import Outputs
from enchannel._outputs.result import Result, ResultBuilder, copy_of_error
from enchannel._protocol.message import AnyMessage, Header, Message, RawParts, create_message
from enchannel.errors import KernelDied, KernelError, RequestAborted
from enchannel.frozen import thaw


def published(msg_type: str, /, **content: Any) -> AnyMessage:
    return create_message(msg_type, content, channel="iopub")


def replied(msg_type: str = "execute_reply", /, **content: Any) -> AnyMessage:
    return create_message(msg_type, content, channel="shell")


def out(text: str) -> AnyMessage:
    return published("stream", name="stdout", text=text)


def display(text: str, id: str | None = None) -> AnyMessage:
    transient = {} if id is None else {"transient": {"display_id": id}}
    return published("display_data", data={"text/plain": text}, metadata={}, **transient)


def update(text: str, id: str) -> AnyMessage:
    transient = {"display_id": id}
    return published(
        "update_display_data", data={"text/plain": text}, metadata={}, transient=transient
    )


def clear(wait: bool = False) -> AnyMessage:
    return published("clear_output", wait=wait)


def result_of(*messages: AnyMessage, max_output: int | None = None) -> Result:
    builder = ResultBuilder(max_output)
    for message in messages:
        builder.add(message)
    return builder.build()


OK = replied(status="ok", execution_count=3)
RAISED = published("error", ename="ZeroDivisionError", evalue="division by zero", traceback=["t"])


def test_result_of_successful_code() -> None:
    builder = ResultBuilder()
    for message in (published("status", execution_state="busy"), out("woo\n"), OK):
        builder.add(message)
    result = builder.build(1.5)
    assert result == Result(
        status="ok",
        outputs=Outputs().add(out("woo\n")),
        execution_count=3,
        duration=1.5,
        reply=OK,
    )
    assert list(result.outputs) == [{"output_type": "stream", "name": "stdout", "text": "woo\n"}]
    assert result.text == "woo\n"
    assert result.error is None
    assert result.check() is result


def test_result_without_reply_is_incomplete() -> None:
    result = result_of(published("execute_input", code="1", execution_count=7), out("woo"))
    assert result.status == "incomplete"
    assert result.reply is None
    assert result.execution_count == 7
    assert result.text == "woo"
    assert result.check() is result


def test_execution_count_without_reply_count() -> None:
    running = published("execute_input", code="1", execution_count=7)
    assert result_of(running, replied(status="aborted")).execution_count == 7


def test_result_has_outputs_after_the_reply() -> None:
    assert result_of(OK, out("woo")).text == "woo"


def test_built_result_stays_unchanged() -> None:
    builder = ResultBuilder()
    builder.add(out("woo"))
    before = builder.build()
    builder.add(out("hoo"))
    assert before.text == "woo"
    assert builder.build().text == "woohoo"


@pytest.mark.parametrize("status", ["aborted", "abort"])
def test_result_of_code_that_was_not_run(status: str) -> None:
    result = result_of(replied(status=status))
    assert result.status == "aborted"
    with pytest.raises(RequestAborted) as caught:
        result.check()
    assert caught.value.result is result


@pytest.mark.parametrize("content", [{}, {"status": None}, {"status": "complete"}])
def test_reply_with_other_status_is_ok(content: dict[str, Any]) -> None:
    assert result_of(replied("kernel_info_reply", **content)).status == "ok"


@pytest.mark.parametrize("channel", ["iopub", "stdin"])
def test_reply_on_shell_or_control_counts(channel: str) -> None:
    stray = create_message("shutdown_reply", {"status": "ok"}, channel=channel)
    assert result_of(stray).reply is None
    answer = stray.replace(channel="control")
    assert result_of(answer).reply is answer


def test_other_shell_message_is_not_a_reply() -> None:
    assert result_of(replied("comm_close", comm_id="a", data={})).reply is None


# Errors.


def test_result_of_code_that_raised() -> None:
    result = result_of(
        RAISED, replied(status="error", ename="ValueError", evalue="no", traceback=["here", "no"])
    )
    assert result.status == "error"
    assert (result.error and result.error.traceback) == ("here", "no")
    with pytest.raises(KernelError, match="^ValueError: no$") as caught:
        result.check()
    assert caught.value.result is result


def test_error_message_completes_error_reply() -> None:
    error = result_of(RAISED, replied(status="error", evalue="no")).error
    assert error
    assert (error.ename, error.evalue, error.traceback) == ("ZeroDivisionError", "no", ("t",))


@pytest.mark.parametrize(
    ("content", "text"),
    [({}, "Error"), ({"ename": None, "evalue": 3, "traceback": None}, "Error: 3")],
)
def test_error_reply_may_be_almost_empty(content: dict[str, Any], text: str) -> None:
    assert str(result_of(replied(status="error", **content)).error) == text


def test_error_message_without_reply_is_raised() -> None:
    result = result_of(RAISED)
    assert result.status == "incomplete"
    with pytest.raises(KernelError, match="division by zero") as caught:
        result.check()
    assert caught.value.result is result


def test_displayed_error_is_not_a_failure() -> None:
    """IPython's ``showtraceback`` sends an error message for code that continues."""
    result = result_of(RAISED, OK)
    assert result.status == "ok"
    assert result.error is None


def test_check_raises_a_new_error_each_time() -> None:
    result = result_of(replied(status="error", ename="E", evalue=""))
    caught = []
    for _ in range(2):
        with pytest.raises(KernelError) as info:
            result.check()
        caught.append(info.value)
    assert caught[0] is not caught[1]
    assert result.error is not None
    assert result.error.result is None
    assert result.error.__traceback__ is None


def test_error_copy_has_all_attributes() -> None:
    error = KernelDied("gone", exit_code=-9, stderr="Killed")
    error.__cause__ = cause = OSError("pipe")
    error.add_note("a note")
    twin = copy_of_error(error)
    twin.result = result_of()
    assert error.result is None
    assert str(twin) == "gone"
    assert (twin.exit_code, twin.stderr) == (-9, "Killed")
    assert twin.__cause__ is cause
    assert twin.__suppress_context__
    assert twin.__notes__ == ["a note"]
    assert type(twin) is KernelDied


def test_error_copy_keeps_traceback() -> None:
    with pytest.raises(KernelDied) as info:
        raise KernelDied("gone") from None
    twin = copy_of_error(info.value)
    assert twin.__traceback__ is info.value.__traceback__
    assert twin.__suppress_context__


def test_error_copy_keeps_context() -> None:
    error, error.__context__ = KernelDied("gone"), OSError("pipe")
    twin = copy_of_error(error)
    assert twin.__context__ is error.__context__
    assert not twin.__suppress_context__


def test_error_copy_with_other_init_arguments() -> None:
    twin = copy_of_error(KernelError("E", "why", ("t",)))
    assert str(twin) == "E: why"
    assert (twin.ename, twin.evalue, twin.traceback) == ("E", "why", ("t",))


# Value semantics.


def test_results_are_equal_by_value() -> None:
    messages = (out("a"), RAISED, replied(status="error"))
    assert result_of(*messages) == result_of(*messages)
    assert result_of(*messages) != result_of(out("a"), *messages)


def test_result_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        result_of().status = "ok"  # type: ignore[misc]


def test_result_can_be_pickled_and_copied() -> None:
    result = result_of(out("a"), display("b", "id"), OK)
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301
    assert copy.deepcopy(result) == result


def test_result_repr_shows_its_fields() -> None:
    shown = repr(result_of(out("woo\n"), OK))
    assert shown.startswith("Result(status='ok', outputs=Outputs(stream 'woo\\n'), error=None, ")
    assert "execution_count=3" in shown


# The output limit.

SIZE = len('{"data":{"text/plain":"x"},"metadata":{}}')
ROOM = len('{"data":{"text/plain":"x"},"metadata":{},"transient":{"display_id":"a"}}')


def test_display_size_is_its_json_length() -> None:
    assert not result_of(display("x"), max_output=SIZE).truncated
    assert result_of(display("x"), max_output=SIZE - 1).truncated


def test_received_display_size_is_its_bytes() -> None:
    raw = RawParts(b"{}", b"{}", b"{}", b" " * 100)
    message: AnyMessage = Message(
        channel=display("x").channel,
        header=Header(msg_id="1", msg_type="display_data"),
        parent_header=Header(),
        metadata={},
        content=display("x").content,
        raw=raw,
    )
    assert not result_of(message, max_output=100).truncated
    assert result_of(message, max_output=99).truncated


LIMITED: dict[str, tuple[list[AnyMessage], int, str, bool]] = {
    "output that fits": ([out("ab"), out("c")], 3, "abc", False),
    "text is cut": ([out("ab"), out("cd")], 3, "abc", True),
    "cut between messages": ([out("abc"), out("d")], 3, "abc", True),
    "no more after the cut": ([out("abcd"), out("e"), display("f")], 3, "abc", True),
    "nothing at all": ([out("a")], 0, "", True),
    "nothing is not too much": ([], 0, "", False),
    "too large output is cut to its text": ([out("a"), display("b"), out("c")], 3, "a\nb\nc", True),
    "cleared": ([out("abcd"), clear(), out("ef")], 3, "ef", False),
    "cleared, and again too much": ([out("abcd"), clear(), out("efgh")], 3, "efg", True),
    "to be cleared": ([out("abcd"), clear(wait=True)], 3, "abc", True),
    "cleared by the next": ([out("abcd"), clear(wait=True), out("ef")], 3, "ef", False),
    "cleared by a cut display": ([out("ab"), clear(wait=True), display("cdef")], 3, "cde", True),
    "cleared twice": ([out("ab"), clear(wait=True), clear(), out("cd"), out("e")], 3, "cde", False),
    "an animation": ([out("abc"), clear(wait=True)] * 9 + [out("def")], 3, "def", False),
    "other messages count nothing": (
        [published("status", execution_state="busy" * 9), out("abc"), OK],
        3,
        "abc",
        False,
    ),
}


@pytest.mark.parametrize(
    ("messages", "most", "text", "truncated"), LIMITED.values(), ids=LIMITED.keys()
)
def test_max_output_limits_outputs(
    messages: list[AnyMessage], most: int, text: str, truncated: bool
) -> None:
    result = result_of(*messages, max_output=most)
    assert result.text == text
    assert result.truncated is truncated


def test_update_replaces_size_of_display() -> None:
    updates = [update(text, "a") for text in "bcdef"]
    result = result_of(display("x", "a"), *updates, max_output=ROOM)
    assert result.text == "f"
    assert not result.truncated


def test_larger_update_uses_more_budget() -> None:
    result = result_of(display("x", "a"), update("xyz", "a"), out("abc"), max_output=ROOM + 4)
    assert result.text == "xyz\nab"
    assert result.truncated


def test_update_of_two_displays_counts_once() -> None:
    updates = [update(text, "a") for text in ("xyz", "xy", "xyz", "abc")]
    result = result_of(display("x", "a"), *updates, max_output=ROOM + 2)
    assert result.text == "abc"
    assert not result.truncated


def test_no_text_follows_truncated_text() -> None:
    result = result_of(out("x" * (SIZE + 2)), display("y"), max_output=SIZE + 1)
    assert result.text == "x" * (SIZE + 1)


def test_text_truncated_to_nothing_is_omitted() -> None:
    assert result_of(out("x"), max_output=0).outputs == []


def test_too_large_update_is_dropped() -> None:
    result = result_of(display("x", "a"), update("y" * ROOM, "a"), max_output=ROOM)
    assert result.text == "x"
    assert result.truncated


def test_update_of_unknown_display_uses_no_budget() -> None:
    result = result_of(update("y" * ROOM, "a"), out("z"), max_output=1)
    assert result.text == "z"
    assert not result.truncated


def test_smaller_update_does_not_resume_text() -> None:
    big, text = display("x" * 50, "a"), out("1" * 200)
    result = result_of(big, text, update("y", "a"), out("2"), max_output=150)
    assert "2" not in result.text
    assert result.text.startswith("y\n1")


def test_error_is_reported_without_its_output() -> None:
    result = result_of(out("abc"), RAISED, replied(status="error"), max_output=3)
    assert result.text == "abc"
    assert str(result.error) == "ZeroDivisionError: division by zero"


def test_cut_error_keeps_its_last_lines() -> None:
    lines = [
        "\x1b[0;31m" + "-" * 75 + "\x1b[0m",
        *("frame" * 20 for _ in range(9)),
        "\x1b[31mE\x1b[0m: x",
    ]
    error = published("error", ename="E", evalue="x", traceback=lines)
    result = result_of(error, max_output=110)
    assert result.text == "frame" * 20 + "\nE: x"
    assert result.truncated


def test_colour_codes_do_not_count() -> None:
    assert not result_of(out("\x1b[31mabc\x1b[0m"), max_output=3).truncated
    assert result_of(out("\x1b[31mabcd\x1b[0m"), max_output=3).text == "abc"


def test_text_of_colour_codes_is_limited() -> None:
    result = result_of(out("\x1b[31m" * 10_000), max_output=10)
    assert result.truncated
    assert len(result.outputs[0]["text"]) < 200  # type: ignore[typeddict-item]


def test_pages_are_in_the_text() -> None:
    page = {"source": "page", "data": {"text/plain": "Docstring: prints"}, "start": 0}
    other = {"source": "set_next_input", "text": "1"}
    result = result_of(out("a\n"), replied(status="ok", payload=[page, other, None, "x"]))
    assert result.pages == (page["data"],)
    assert result.text == "a\nDocstring: prints"


def test_non_string_text_is_truncated_too() -> None:
    result = result_of(published("stream", name=None, text=["ab", "cd"]), max_output=3)
    assert list(result.outputs) == [{"output_type": "stream", "name": "stdout", "text": "abc"}]


texts = st.text("ab\n", max_size=5)
messages = st.one_of(
    st.builds(out, texts),
    st.builds(display, texts, st.sampled_from(["a", "b", None])),
    st.builds(update, texts, st.sampled_from(["a", "b"])),
    st.builds(clear, st.booleans()),
)


@given(st.lists(messages, max_size=20), st.integers(0, 200))
def test_untruncated_result_has_all_outputs(messages: list[AnyMessage], most: int) -> None:
    limited, unlimited = result_of(*messages, max_output=most), result_of(*messages)
    if not limited.truncated:
        assert limited.outputs == unlimited.outputs


@given(st.lists(st.builds(out, texts), max_size=20), st.integers(0, 30))
def test_truncated_text_is_the_beginning(messages: list[AnyMessage], most: int) -> None:
    limited = result_of(*messages, max_output=most)
    all_of_it = "".join(thaw(message.content)["text"] for message in messages)
    texts = [o["text"] for o in limited.outputs if o["output_type"] == "stream"]
    assert "".join(texts) == all_of_it[:most]
    assert limited.truncated is (len(all_of_it) > most)
