"""Outputs of a cell equal those that nbclient and JupyterLab make of the messages."""

import copy
import pickle
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enchannel._outputs.outputs import Outputs
from enchannel._protocol.message import AnyMessage, create_message
from enchannel.contents import CONTENT_TYPES
from enchannel.errors import InvalidMessage
from enchannel.frozen import thaw

Plain = dict[str, Any]


def published(msg_type: str, /, **content: Any) -> AnyMessage:
    return create_message(msg_type, content, channel="iopub")


def out(text: str, name: str = "stdout") -> AnyMessage:
    return published("stream", name=name, text=text)


def err(text: str) -> AnyMessage:
    return out(text, "stderr")


def bundle(text: str, id: str | None = None) -> Plain:
    shown: Plain = {"data": {"text/plain": text}, "metadata": {"of": text}}
    return shown if id is None else {**shown, "transient": {"display_id": id}}


def display(text: str, id: str | None = None) -> AnyMessage:
    return published("display_data", **bundle(text, id))


def update(text: str, id: str | None = "a") -> AnyMessage:
    return published("update_display_data", **bundle(text, id))


def result(text: str, id: str | None = None, count: int = 1) -> AnyMessage:
    return published("execute_result", execution_count=count, **bundle(text, id))


def raised(ename: str = "E") -> AnyMessage:
    return published("error", ename=ename, evalue="why", traceback=["\x1b[31mwhere\x1b[0m", "why"])


def clear(wait: bool = False) -> AnyMessage:
    return published("clear_output", wait=wait)


def outputs_of(*messages: AnyMessage) -> Outputs:
    outputs = Outputs()
    for message in messages:
        outputs = outputs.add(message)
    return outputs


def streamed(text: str, name: str = "stdout") -> Plain:
    return {"output_type": "stream", "name": name, "text": text}


def displayed(text: str) -> Plain:
    return {"output_type": "display_data", **bundle(text)}


def returned(text: str, count: int = 1) -> Plain:
    return {"output_type": "execute_result", "execution_count": count, **bundle(text)}


def error(ename: str = "E") -> Plain:
    traceback = ["\x1b[31mwhere\x1b[0m", "why"]
    return {"output_type": "error", "ename": ename, "evalue": "why", "traceback": traceback}


CASES: dict[str, tuple[list[AnyMessage], list[Plain]]] = {
    "nothing": ([], []),
    "each kind": (
        [out("a"), display("b"), result("c"), raised()],
        [streamed("a"), displayed("b"), returned("c"), error()],
    ),
    "one stream": ([out("a"), out("b\n"), out("c")], [streamed("ab\nc")]),
    "two streams": (
        [out("a"), err("b"), err("c"), out("d")],
        [streamed("a"), streamed("bc", "stderr"), streamed("d")],
    ),
    "a stream that something is between": (
        [out("a"), display("b"), out("c")],
        [streamed("a"), displayed("b"), streamed("c")],
    ),
    "a stream that an update is not between": (
        [display("x", "a"), out("1"), update("y"), out("2")],
        [displayed("y"), streamed("12")],
    ),
    "an empty stream": ([out("")], [streamed("")]),
    "cleared": ([out("a"), display("b"), clear()], []),
    "cleared, and more": ([out("a"), clear(), out("b")], [streamed("b")]),
    "to be cleared": ([out("a"), clear(wait=True)], [streamed("a")]),
    "cleared by the next": ([out("a"), clear(wait=True), out("b")], [streamed("b")]),
    "cleared by the next of any kind": ([out("a"), clear(wait=True), raised()], [error()]),
    "cleared by the next, empty": ([out("a"), clear(wait=True), out("")], [streamed("")]),
    "cleared once": ([out("a"), clear(wait=True), out("b"), out("c")], [streamed("bc")]),
    "cleared at once while it waits": ([out("a"), clear(wait=True), clear()], []),
    "nothing to be cleared": ([clear(wait=True), out("a"), out("b")], [streamed("ab")]),
    "an update clears nothing": (
        [display("x", "a"), clear(wait=True), update("y")],
        [displayed("y")],
    ),
    "an update, then cleared": (
        [display("x", "a"), clear(wait=True), update("y"), out("z")],
        [streamed("z")],
    ),
    "updated": ([display("x", "a"), out("."), update("y")], [displayed("y"), streamed(".")]),
    "updated, of several": (
        [display("1", "a"), display("2", "b"), update("3", "b"), update("4", "a")],
        [displayed("4"), displayed("3")],
    ),
    "updated twice": ([display("x", "a"), update("y"), update("z")], [displayed("z")]),
    "updated, and back again": (
        [*(display("x", id) for id in "abcd"), update("y", "a"), update("x", "a")],
        [displayed("x")] * 4,
    ),
    "a result updated": ([result("x", "a", 3), update("y")], [returned("y", 3)]),
    "updated by another display": (
        [display("x", "a"), display("y", "a")],
        [displayed("y"), displayed("y")],
    ),
    "updated by a result": (
        [display("x", "a"), result("y", "a")],
        [displayed("y"), returned("y")],
    ),
    "all of an id updated": (
        [display("x", "a"), result("y", "a"), display("z"), update("u")],
        [displayed("u"), returned("u"), displayed("z")],
    ),
    "an update of nothing": ([display("x"), update("y")], [displayed("x")]),
    "an update without an id": ([display("x", "a"), update("y", None)], [displayed("x")]),
    "an update of a cleared display": ([display("x", "a"), clear(), update("y")], []),
    "an update of a repeated display": (
        [display("x", "a"), clear(), display("y", "a"), update("z")],
        [displayed("z")],
    ),
    "an update of a display cleared by the next": (
        [display("x", "a"), clear(wait=True), out("."), update("y")],
        [streamed(".")],
    ),
}


@pytest.mark.parametrize(("messages", "expected"), CASES.values(), ids=CASES.keys())
def test_messages_become_outputs(messages: list[AnyMessage], expected: list[Plain]) -> None:
    outputs = outputs_of(*messages)
    assert list(outputs) == expected
    assert len(outputs) == len(expected)


def test_other_messages_are_ignored() -> None:
    outputs = outputs_of(out("a"))
    ours = {"stream", "display_data", "execute_result", "error", "clear_output"}
    for msg_type in {*CONTENT_TYPES, "who_knows"} - ours:
        assert outputs.add(published(msg_type, text="b", data={})) is outputs


UNCHANGED = {
    "an update of nothing": ([display("x", "a")], update("y", "b")),
    "the same again": ([display("x", "a")], update("x")),
    "the same update again": (
        [*(display("x", id) for id in "abcd"), update("y", "a")],
        update("y", "a"),
    ),
    "no text": ([out("a")], out("")),
    "nothing to clear": ([], clear()),
    "nothing to be cleared": ([], clear(wait=True)),
    "to be cleared already": ([out("a"), clear(wait=True)], clear(wait=True)),
}


@pytest.mark.parametrize(("messages", "more"), UNCHANGED.values(), ids=UNCHANGED.keys())
def test_add_without_change_returns_self(messages: list[AnyMessage], more: AnyMessage) -> None:
    outputs = outputs_of(*messages)
    assert outputs.add(more) is outputs


# A plain, slow reducer that mutates a list.


class Twin:
    def __init__(self) -> None:
        self.outputs: list[Plain] = []
        self.ids: list[str | None] = []
        self.clear_next = False

    def add(self, message: AnyMessage) -> None:
        content = thaw(message.content)
        kind = message.header.msg_type
        id = content.pop("transient", {}).get("display_id")
        if kind == "clear_output":
            self.clear_next = content["wait"]
            if not content["wait"]:
                self.outputs, self.ids = [], []
            return
        for output, known in zip(self.outputs, self.ids, strict=True):
            if id is not None and id == known:
                output["data"], output["metadata"] = content["data"], content["metadata"]
        if kind == "update_display_data":
            return
        if self.clear_next:
            self.outputs, self.ids, self.clear_next = [], [], False
        last = self.outputs[-1] if self.outputs else {}
        if kind == "stream" and last.get("name") == content["name"]:
            last["text"] += content["text"]
        else:
            self.outputs.append({"output_type": kind, **content})
            self.ids.append(id)


texts = st.sampled_from(["", "a", "b\n", "ccc"])
ids = st.sampled_from(["a", "b", None])
messages = st.one_of(
    st.builds(out, texts, st.sampled_from(["stdout", "stderr"])),
    st.builds(out, texts),
    st.builds(display, texts, ids),
    st.builds(update, texts, ids),
    st.builds(result, texts, ids, st.integers(0, 3)),
    st.builds(raised),
    st.builds(clear, st.booleans()),
)


@given(st.lists(messages, max_size=30))
def test_outputs_equal_plain_reducer(messages: list[AnyMessage]) -> None:
    outputs, twin = Outputs(), Twin()
    for message in messages:
        outputs = outputs.add(message)
        twin.add(message)
        assert len(outputs) == len(twin.outputs)
        assert outputs[-1:] == tuple(twin.outputs[-1:])
        assert list(outputs) == twin.outputs


@given(st.lists(messages, max_size=30), st.booleans())
def test_earlier_outputs_stay_unchanged(messages: list[AnyMessage], read_at_once: bool) -> None:
    outputs, twin = Outputs(), Twin()
    states: list[tuple[Outputs, list[Plain]]] = []
    for message in messages:
        outputs = outputs.add(message)
        twin.add(message)
        states.append((outputs, copy.deepcopy(twin.outputs)))
        if read_at_once:
            assert list(outputs) == twin.outputs
    for state, expected in states:
        assert list(state) == expected


@given(st.lists(messages, max_size=20), messages, messages)
def test_outputs_can_branch(before: list[AnyMessage], one: AnyMessage, other: AnyMessage) -> None:
    fork = outputs_of(*before)
    one_way, other_way = fork.add(one), fork.add(other)
    assert one_way == outputs_of(*before, one)
    assert other_way == outputs_of(*before, other)


@given(st.lists(messages, min_size=1, max_size=20))
def test_last_output_is_read_alone(messages: list[AnyMessage]) -> None:
    outputs = outputs_of(*messages)
    if len(outputs):
        assert outputs[-1] == list(outputs_of(*messages))[-1]
    else:
        with pytest.raises(IndexError):
            outputs[-1]


def test_last_output_is_updated() -> None:
    outputs = outputs_of(*(display("x", id) for id in "abcd"), update("y", "d"))
    assert outputs[-1] == displayed("y")


def test_unchanged_output_is_the_same_object() -> None:
    """Front ends detect new outputs by identity."""
    before = outputs_of(display("1", "a"), display("2", "b"), out("3"), display("4"), out("5"))
    shown = list(before)
    after = list(before.add(update("6", "b")).add(raised()))
    assert [new is old for new, old in zip(after, shown, strict=False)] == [
        True,
        False,
        True,
        True,
        True,
    ]


# Kernels that send invalid content.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab") | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=5,
).filter(lambda value: value not in (float("inf"), -float("inf")))
finite = json_values.filter(lambda value: "inf" not in repr(value))
mime_types = st.sampled_from(["text/plain", "image/png", "application/json", "application/x+json"])
FIELDS = "name text data metadata transient execution_count ename evalue traceback wait".split()


@given(
    st.sampled_from("stream display_data execute_result update_display_data error".split()),
    st.dictionaries(st.sampled_from(FIELDS), finite),
    st.dictionaries(mime_types, finite),
)
def test_any_content_gives_valid_outputs(kind: str, content: Plain, data: Plain) -> None:
    content.setdefault("data", data)
    outputs = outputs_of(display("x", "a"), clear(wait=True), published(kind, **content))
    assert isinstance(outputs.text, str)
    nbformat.validate(notebook(outputs))


def notebook(outputs: Outputs) -> Plain:
    cell: Plain = {
        "cell_type": "code",
        "id": "a",
        "source": "",
        "metadata": {},
        "execution_count": None,
        "outputs": list(outputs),
    }
    return {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


ODD: dict[str, tuple[AnyMessage, Plain]] = {
    "a stream without text": (published("stream"), streamed("")),
    "a stream of null": (published("stream", name=None, text=None), streamed("")),
    "a stream of lines": (
        published("stream", name="stderr", text=["a\n", "b"]),
        streamed("a\nb", "stderr"),
    ),
    "a stream of a number": (published("stream", name="stdout", text=42), streamed("42")),
    "a display of nothing": (
        published("display_data"),
        {"output_type": "display_data", "data": {}, "metadata": {}},
    ),
    "a display of null": (
        published("display_data", data=None, metadata=None, transient=None),
        {"output_type": "display_data", "data": {}, "metadata": {}},
    ),
    "a display of no text": (
        published(
            "display_data",
            data={
                "text/plain": ["a\n", "b"],
                "text/html": 1,
                "text/x": None,
                "application/json": None,
                "application/vnd.x+json": {"a": [1]},
                "application/xjson": [1],
                "image/png": {"a": "ü"},
            },
        ),
        {
            "output_type": "display_data",
            "data": {
                "text/plain": ["a\n", "b"],
                "text/html": "1",
                "application/json": None,
                "application/vnd.x+json": {"a": [1]},
                "application/xjson": "[1]",
                "image/png": '{"a": "ü"}',
            },
            "metadata": {},
        },
    ),
    "a result without a count": (
        published("execute_result", **bundle("x")),
        {"output_type": "execute_result", "execution_count": None, **bundle("x")},
    ),
    **{
        f"a result with the count {count!r}": (
            published("execute_result", execution_count=count, **bundle("x")),
            {"output_type": "execute_result", "execution_count": None, **bundle("x")},
        )
        for count in ("3", -1, True, [3])
    },
    "an error of nothing": (
        published("error"),
        {"output_type": "error", "ename": "", "evalue": "", "traceback": []},
    ),
    "an error with one text": (
        published("error", ename="E", evalue=3, traceback="where"),
        {"output_type": "error", "ename": "E", "evalue": "3", "traceback": ["where"]},
    ),
    "an error with odd lines": (
        published("error", ename="E", evalue="", traceback=["where", None]),
        {"output_type": "error", "ename": "E", "evalue": "", "traceback": ["where", "None"]},
    ),
}


@pytest.mark.parametrize(("message", "expected"), ODD.values(), ids=ODD.keys())
def test_odd_message_becomes_output(message: AnyMessage, expected: Plain) -> None:
    assert list(outputs_of(message)) == [expected]


@pytest.mark.parametrize("id", [[], {}, 0, "", None, False, 1.5])
def test_odd_display_id_is_ignored(id: Any) -> None:
    shown = published("display_data", data={}, transient={"display_id": id})
    other = published("update_display_data", **bundle("x"), transient={"display_id": id})
    outputs = outputs_of(shown)
    assert outputs.add(other) is outputs


def test_display_id_may_be_a_number() -> None:
    shown = published("display_data", data={}, transient={"display_id": 7})
    other = published("update_display_data", **bundle("x"), transient={"display_id": 7})
    assert list(outputs_of(shown, other)) == [displayed("x")]


# Value semantics.


@given(st.lists(messages, max_size=20))
def test_nbformat_accepts_outputs(messages: list[AnyMessage]) -> None:
    nbformat.validate(notebook(outputs_of(*messages)))


def test_outputs_are_immutable() -> None:
    stream, shown, error = outputs_of(out("a"), display("b"), raised())
    with pytest.raises(TypeError):
        stream["text"] = "c"  # type: ignore[typeddict-unknown-key]
    with pytest.raises(TypeError):
        shown["data"]["text/plain"] = "c"  # type: ignore[typeddict-item]
    with pytest.raises(TypeError):
        error["traceback"].append("c")  # type: ignore[typeddict-item]


def test_deep_copied_list_is_mutable() -> None:
    outputs = outputs_of(out("a"), display("b"))
    plain: list[Any] = copy.deepcopy(list(outputs))
    plain[1]["data"]["text/plain"] = "c"
    assert outputs[1] == displayed("b")


def test_outputs_are_a_sequence() -> None:
    outputs = outputs_of(out("a"), display("b"), raised())
    assert outputs[0] == streamed("a")
    assert outputs[1:] == (displayed("b"), error())
    assert outputs[-3] == outputs[0]
    assert error() in outputs
    assert list(reversed(outputs)) == [error(), displayed("b"), streamed("a")]
    assert not Outputs()
    with pytest.raises(IndexError):
        outputs[3]


def test_outputs_are_equal_by_value() -> None:
    outputs = outputs_of(out("ab"))
    assert outputs == outputs_of(out("a"), out("b"))
    assert outputs == [streamed("ab")]
    assert [streamed("ab")] == outputs
    assert outputs == (streamed("ab"),)
    assert outputs != outputs_of(out("ab"), raised())
    assert outputs != "ab"
    with pytest.raises(TypeError):
        hash(outputs)


def test_copy_returns_self() -> None:
    outputs = outputs_of(out("a"))
    assert copy.copy(outputs) is outputs
    assert copy.deepcopy(outputs) is outputs


def test_unpickled_outputs_can_grow() -> None:
    outputs = outputs_of(display("x", "a"), out("1"), clear(wait=True))
    again = pickle.loads(pickle.dumps(outputs))  # noqa: S301
    assert again == outputs
    assert again.add(update("y")) == [displayed("y"), streamed("1")]
    assert again.add(out("2")) == [streamed("2")]


def test_outputs_repr_is_short() -> None:
    png = published("display_data", data={"image/png": "abc"}, metadata={})
    outputs = outputs_of(out("woo\n"), result("42"), png, raised("ValueError"))
    assert repr(outputs) == (
        "Outputs(stream 'woo\\n', execute_result '42', display_data 'image/png', "
        "error 'ValueError: why')"
    )
    assert repr(Outputs()) == "Outputs()"
    assert len(repr(outputs_of(out("x" * 10_000)))) < 100
    assert repr(outputs_of(*[raised()] * 100)).endswith(", and 94 more)")


# Plain text.

TEXTS: dict[str, tuple[list[AnyMessage], str]] = {
    "nothing": ([], ""),
    "a script": ([out("woo\n"), result("42")], "woo\n42"),
    "on lines of their own": ([out("woo"), display("x"), result("42")], "woo\nx\n42"),
    "no line for outputs without text": ([display("x"), published("display_data"), out("")], "x"),
    "a traceback": ([raised()], "where\nwhy"),
    "no traceback": ([published("error", ename="E", evalue="why")], "E: why"),
    "no escape sequences": ([out("\x1b[31mr"), out("ed\x1b[0m\n")], "red\n"),
    "not one that two messages share": ([out("\x1b[3"), out("1mred")], "red"),
    "the last state of a progress bar": ([out("\r 1%"), out("\r99%\n")], "99%\n"),
    "a list of lines": ([published("display_data", data={"text/plain": ["a\n", "b"]})], "a\nb"),
}


@pytest.mark.parametrize(("messages", "text"), TEXTS.values(), ids=TEXTS.keys())
def test_outputs_as_text(messages: list[AnyMessage], text: str) -> None:
    outputs = outputs_of(*messages)
    assert outputs.text == text
    assert outputs.text is outputs.text


# Cost: a quadratic one would take minutes here.

OUTPUT_COUNT = 100_000


def test_long_stream_is_cheap_and_stored_once() -> None:
    outputs, message = Outputs(), out("0123456789")
    for _ in range(OUTPUT_COUNT):
        outputs = outputs.add(message)
    (output,) = outputs
    assert output["output_type"] == "stream"
    assert len(output["text"]) == 10 * OUTPUT_COUNT


def test_many_outputs_are_cheap_and_freed() -> None:
    outputs, pair = Outputs(), (out("a"), err("b"))
    for _ in range(OUTPUT_COUNT // 2):
        for message in pair:
            outputs = outputs.add(message)
    assert len(outputs) == OUTPUT_COUNT
    assert [o["text"] for o in outputs if o["output_type"] == "stream"] == ["a", "b"] * (
        OUTPUT_COUNT // 2
    )


def test_many_displays_of_one_id_are_cheap() -> None:
    outputs = Outputs()
    for number in range(OUTPUT_COUNT // 5):
        outputs = outputs.add(display(str(number), "a"))
    assert outputs[0] == outputs[-1] == displayed(str(OUTPUT_COUNT // 5 - 1))


def test_last_output_is_cheap_each_time() -> None:
    outputs = Outputs()
    for number in range(OUTPUT_COUNT // 5):
        outputs = outputs.add(display(str(number), str(number)))
        assert outputs[-1] == displayed(str(number))


# -- a notebook's own outputs, and updates from other cells -----------------------------------------


def test_from_nbformat_is_equal_and_frozen() -> None:
    before = [streamed("a"), displayed("b"), returned("c"), error()]
    outputs = Outputs.from_nbformat(before)
    assert outputs == before
    before[1]["data"]["text/plain"] = "other"
    assert outputs[1] == displayed("b")
    with pytest.raises(TypeError, match="immutable"):
        outputs[1]["data"]["text/plain"] = "other"  # type: ignore[typeddict-item]


def test_from_nbformat_keeps_frozen_values() -> None:
    (output,) = Outputs.from_nbformat([streamed("a")])
    assert Outputs.from_nbformat([output])[0] is output


def test_from_nbformat_of_empty_cell() -> None:
    assert Outputs.from_nbformat([]) == Outputs()
    assert Outputs.from_nbformat([]).add(out("a")) == [streamed("a")]


def test_from_nbformat_refuses_non_json_values() -> None:
    with pytest.raises(InvalidMessage, match="an output"):
        Outputs.from_nbformat(
            [{"output_type": "display_data", "data": {"a": object()}, "metadata": {}}]
        )


def test_from_nbformat_outputs_can_grow() -> None:
    outputs = Outputs.from_nbformat([streamed("a"), displayed("b")])
    assert outputs.add(out("c")) == [streamed("a"), displayed("b"), streamed("c")]


def test_unknown_output_type_is_kept() -> None:
    outputs = Outputs.from_nbformat([{"output_type": "hologram", "data": 5}])
    assert outputs.text == ""
    assert repr(outputs) == "Outputs(hologram '')"


def test_display_ids_are_listed() -> None:
    outputs = outputs_of(display("x", "a"), out("-"), result("y", "b"), display("z"))
    assert outputs.display_ids == {"a", "b"}
    assert Outputs().display_ids == frozenset()


@pytest.mark.parametrize("other", [update("new"), display("new", "a"), result("new", "a", 7)])
def test_update_from_other_cell_changes_display(other: AnyMessage) -> None:
    here = outputs_of(display("old", "a"), result("other", "b"), display("old", "a"))
    assert here.update(other) == [displayed("new"), returned("other"), displayed("new")]


@pytest.mark.parametrize("other", [update("new", "c"), display("new"), out("new"), clear()])
def test_update_of_unknown_display_returns_self(other: AnyMessage) -> None:
    here = outputs_of(display("old", "a"))
    assert here.update(other) is here


# -- as a terminal shows it ---------------------------------------------------------------------------


def on_terminal(*messages: AnyMessage) -> Outputs:
    outputs = Outputs(terminal=True)
    for message in messages:
        outputs = outputs.add(message)
    return outputs


def test_terminal_keeps_last_progress_bar_state() -> None:
    bar = on_terminal(*(out(f"\r\x1b[32m{percent:3}%\x1b[0m") for percent in range(101)))
    assert bar == [streamed("\x1b[32m100%\x1b[0m")]


def test_default_keeps_all_text() -> None:
    assert outputs_of(out("1%"), out("\r2%")) == [streamed("1%\r2%")]


def test_terminal_cursor_survives_reading() -> None:
    first = on_terminal(out("12345\r"))
    assert first == [streamed("12345")]
    assert first.add(out("ab")) == [streamed("ab345")]
    assert first.add(out("\n")) == [streamed("12345\n")]


def test_cleared_outputs_keep_terminal_mode() -> None:
    assert on_terminal(out("a"), clear(), out("1\r2")) == [streamed("2")]
    assert on_terminal(out("a"), clear(wait=True), out("1\r2")) == [streamed("2")]
    assert on_terminal(out("a"), display("b"), out("1\r2"))[2] == streamed("2")


def test_earlier_terminal_outputs_stay_unchanged() -> None:
    states = [Outputs(terminal=True)]
    for percent in range(50):
        states.append(states[-1].add(out(f"\r{percent}%")))
    assert [state.text for state in states[1:]] == [f"{percent}%" for percent in range(50)]


def test_endless_progress_bar_uses_bounded_memory() -> None:
    outputs = Outputs(terminal=True)
    for number in range(20_000):
        outputs = outputs.add(out(f"\r{number:100}"))
    assert len(pickle.dumps(outputs)) < 20_000
    assert outputs == [streamed(f"{19_999:100}")]


@given(st.lists(st.text(st.sampled_from("ab \n\r\b"), max_size=8)), st.sets(st.integers(0, 20)))
def test_terminal_text_is_independent_of_splits(texts: list[str], read: set[int]) -> None:
    outputs = Outputs(terminal=True)
    for number, text in enumerate(texts):
        outputs = outputs.add(out(text))
        if number in read:
            list(outputs)
    whole = on_terminal(out("".join(texts)))
    assert outputs.text == whole.text == outputs_of(out("".join(texts))).text
