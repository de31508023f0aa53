"""Messages: immutable at any depth, and still usable as plain dicts and lists."""

import copy
import ctypes
import json
import math
import operator
import pickle
from collections import ChainMap, OrderedDict, UserDict, deque
from collections.abc import Callable
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import msgspec
import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, Header, Message, RawParts, create_message
from enchannel.errors import InvalidMessage
from enchannel.frozen import FrozenDict, FrozenList

CONTENT: dict[str, Any] = {
    "dict": {"dict": {"x": [1]}, "list": [{"y": 2}]},
    "list": [{"dict": {"z": 3}}, [{"u": 4}], "text"],
    "number": 7,
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)  # fmt: skip
json_objects = st.dictionaries(st.text(st.characters(codec="utf-8")), json_values)


def created(content: dict[str, Any], **options: Any) -> AnyMessage:
    return create_message("x", content, **options)


def received(content: dict[str, Any]) -> AnyMessage:
    """Return a message as a decoder creates it: nested values are frozen only on access."""
    plain = json.loads(json.dumps(content))
    return Message(
        ChannelName.SHELL, Header("1", "x"), Header(), FrozenDict(plain), FrozenDict(plain)
    )


def unpickled(content: dict[str, Any]) -> AnyMessage:
    message: AnyMessage = pickle.loads(pickle.dumps(received(content)))  # noqa: S301
    return message


def replaced(content: dict[str, Any]) -> AnyMessage:
    return created({}).replace(content=content)


@pytest.fixture(params=[created, received, unpickled, replaced])
def make(request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], AnyMessage]:
    maker: Callable[[dict[str, Any]], AnyMessage] = request.param
    return maker


@pytest.fixture
def message(make: Callable[[dict[str, Any]], AnyMessage]) -> AnyMessage:
    return make(CONTENT)


@pytest.fixture
def content(message: AnyMessage) -> Any:
    return message.content


# Every method of a dict or a list either reads or is refused.

DICT_READERS = {
    *("__class_getitem__", "__contains__", "__doc__", "__eq__", "__ge__", "__getattribute__"),
    *("__getitem__", "__gt__", "__hash__", "__init__", "__iter__", "__le__", "__len__", "__lt__"),
    *("__ne__", "__new__", "__or__", "__repr__", "__reversed__", "__ror__", "__sizeof__"),
    *("copy", "fromkeys", "get", "items", "keys", "values"),
}
LIST_READERS = {
    *("__add__", "__class_getitem__", "__contains__", "__doc__", "__eq__", "__ge__"),
    *("__getattribute__", "__getitem__", "__gt__", "__hash__", "__init__", "__iter__", "__le__"),
    *("__len__", "__lt__", "__mul__", "__ne__", "__new__", "__repr__", "__reversed__", "__rmul__"),
    *("__sizeof__", "copy", "count", "index"),
}
DICT_MUTATORS: dict[str, Callable[[Any], Any]] = {
    "__setitem__": lambda d: operator.setitem(d, "number", 0),
    "__delitem__": lambda d: operator.delitem(d, "number"),
    "__ior__": lambda d: d.__ior__({"number": 0}),
    "clear": lambda d: d.clear(),
    "pop": lambda d: d.pop("number", None),
    "popitem": lambda d: d.popitem(),
    "setdefault": lambda d: d.setdefault("new", 0),
    "update": lambda d: d.update(number=0),
}
LIST_MUTATORS: dict[str, Callable[[Any], Any]] = {
    "__setitem__": lambda x: operator.setitem(x, 0, 0),
    "__setitem__ slice": lambda x: operator.setitem(x, slice(None), []),
    "__delitem__": lambda x: operator.delitem(x, 0),
    "__delitem__ slice": lambda x: operator.delitem(x, slice(None)),
    "__iadd__": lambda x: x.__iadd__([0]),
    "__imul__": lambda x: x.__imul__(2),
    "append": lambda x: x.append(0),
    "clear": lambda x: x.clear(),
    "extend": lambda x: x.extend([0]),
    "insert": lambda x: x.insert(0, 0),
    "pop": lambda x: x.pop(),
    "remove": lambda x: x.remove("text"),
    "reverse": lambda x: x.reverse(),
    "sort": lambda x: x.sort(key=str),
}


def test_every_dict_and_list_method_is_covered() -> None:
    assert DICT_READERS | DICT_MUTATORS.keys() == set(vars(dict))
    assert LIST_READERS | {name.split()[0] for name in LIST_MUTATORS} == set(vars(list))


@pytest.mark.parametrize("mutate", DICT_MUTATORS.values(), ids=DICT_MUTATORS)
@pytest.mark.parametrize("part", ["content", "metadata", "nested"])
def test_frozen_dict_methods_refuse_changes(
    make: Callable[[dict[str, Any]], AnyMessage], part: str, mutate: Callable[[Any], Any]
) -> None:
    message = make(CONTENT).replace(metadata=CONTENT)
    target = message.content["dict"] if part == "nested" else getattr(message, part)
    before = copy.deepcopy(target)
    with pytest.raises(TypeError, match="this object is immutable"):
        mutate(target)
    assert target == before


@pytest.mark.parametrize("mutate", LIST_MUTATORS.values(), ids=LIST_MUTATORS)
def test_frozen_list_methods_refuse_changes(content: Any, mutate: Callable[[Any], Any]) -> None:
    for target in (content["list"], content["list"][1]):
        before = copy.deepcopy(target)
        with pytest.raises(TypeError, match="this object is immutable"):
            mutate(target)
        assert target == before


def test_mutating_statements_raise(content: Any) -> None:
    words = content["list"]
    with pytest.raises(TypeError):
        content["number"] += 1
    with pytest.raises(TypeError):
        content["list"] += [1]
    with pytest.raises(TypeError):
        words += [1]
    with pytest.raises(TypeError):
        words *= 2
    with pytest.raises(TypeError):
        content |= {"a": 1}
    with pytest.raises(TypeError):
        del content["number"]
    with pytest.raises(TypeError):
        del words[:]
    with pytest.raises(TypeError):
        words[0], words[1] = 1, 2
    with pytest.raises(TypeError):
        content["dict"]["dict"]["x"][0] = 2
    assert content == CONTENT


def test_calling_init_again_changes_nothing(content: Any) -> None:
    content.__init__({"number": 8})
    content["list"].__init__([1])
    assert content == CONTENT


def test_frozen_value_has_no_settable_attributes(content: Any) -> None:
    for thing, plain in ((content, dict), (content["list"], list)):
        with pytest.raises(AttributeError):
            thing.extra = 1
        with pytest.raises(TypeError):
            thing.__class__ = plain
    assert content == CONTENT


@pytest.mark.parametrize(
    "name", ["channel", "header", "parent_header", "metadata", "content", "buffers", "raw", "more"]
)
def test_message_attributes_are_read_only(message: AnyMessage, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(message, name, None)
    with pytest.raises(AttributeError):
        delattr(message, name)


def test_header_attributes_are_read_only(message: AnyMessage) -> None:
    with pytest.raises(AttributeError):
        message.header.msg_id = "2"  # type: ignore[misc]


def test_calling_message_init_changes_nothing(message: AnyMessage) -> None:
    before = message.replace()
    message.__init__(ChannelName.IOPUB, Header(), Header(), {}, {})  # type: ignore[misc]
    message.__post_init__()
    assert message == before


# Nested values are frozen on any access.


def by_match(content: Any) -> list[Any]:
    match content:
        case {"dict": {"dict": inner}, "list": [first, *others], **rest}:
            return [inner, first, *others, *rest.values()]
        case _:
            return []


def by_unpacking(content: Any) -> list[Any]:
    first, *others = content["list"]
    return [first, *others]


def by_for(content: Any) -> list[Any]:
    return [content[key] for key in content] + [item for item in content["list"]]  # noqa: C416


def by_updating(content: Any) -> list[Any]:
    plain: dict[str, Any] = {}
    plain.update(content)
    plain |= content
    return list(plain.values())


def by_extending(content: Any) -> list[Any]:
    plain: list[Any] = []
    plain.extend(content["list"])
    plain[:0] = content["list"]
    return plain


def by_keywords(content: Any) -> list[Any]:
    return (lambda **given: list(given.values()))(**content)


def by_arguments(content: Any) -> list[Any]:
    return (lambda *given: list(given))(*content["list"])


ROUTES: dict[str, Callable[[Any], list[Any]]] = {
    "get item": lambda c: [c["dict"], c["list"], c["list"][0], c["list"][-1]],
    "get": lambda c: [c.get("dict"), c.get("list"), c.get("none"), c.get("none", 1)],
    "values": lambda c: list(c.values()),
    "items": lambda c: [value for _, value in c.items()],
    "item": lambda c: [operator.itemgetter("dict")(c), operator.getitem(c["list"], 0)],
    "a view's iterator": lambda c: [next(iter(c.values())), next(iter(c.items()))[1]],
    "keys' mapping": lambda c: [c.keys().mapping["dict"]],
    "a proxy": lambda c: [*MappingProxyType(c).values(), MappingProxyType(c)["dict"]],
    "for": by_for,
    "match": by_match,
    "unpacking": by_unpacking,
    "keywords": by_keywords,
    "arguments": by_arguments,
    "dict()": lambda c: list(dict(c).values()),
    "dict(items)": lambda c: list(dict(c.items()).values()),
    "dict(**)": lambda c: list(dict(**c).values()),
    "{**}": lambda c: list({**c}.values()),
    "OrderedDict": lambda c: list(OrderedDict(c).values()),
    "UserDict": lambda c: list(UserDict(c).values()),
    "ChainMap": lambda c: [ChainMap(c)["dict"], *ChainMap(c).values()],
    "dict.copy": lambda c: list(c.copy().values()),
    "dict | dict": lambda c: [*(c | {}).values(), *({} | c).values(), *(c | c).values()],
    "dict.update": by_updating,
    "slices": lambda c: [*c["list"][:], *c["list"][::-1], c["list"][0:1]],
    "reversed": lambda c: list(reversed(c["list"])),
    "enumerate": lambda c: [item for _, item in enumerate(c["list"])],
    "zip": lambda c: [item for pair in zip(c["list"], c["list"], strict=True) for item in pair],
    "filter": lambda c: list(filter(None, c["list"])),
    "sorted": lambda c: sorted(c["list"], key=str),
    "max": lambda c: [max(c["list"], key=str), min(c["list"], key=str)],
    "list()": lambda c: list(c["list"]),
    "tuple()": lambda c: [tuple(c["list"])],
    "deque()": lambda c: [*deque(c["list"])],
    "[*]": lambda c: [*c["list"]],
    "list.copy": lambda c: c["list"].copy(),
    "list + list": lambda c: [*(c["list"] + [0]), *([0] + c["list"]), *(c["list"] + c["list"])],
    "list * 2": lambda c: [*(c["list"] * 2), *(2 * c["list"])],
    "list.extend": by_extending,
    "copy.copy": lambda c: [*copy.copy(c).values(), *copy.copy(c["list"])],
}


def unfrozen(value: Any) -> list[Any]:
    """Yield the mutable dicts and lists in a value."""
    if isinstance(value, tuple):
        return [one for item in value for one in unfrozen(item)]
    if isinstance(value, dict):
        inside = [one for item in value.values() for one in unfrozen(item)]
        return inside if isinstance(value, FrozenDict) else [value, *inside]
    if isinstance(value, list):
        inside = [one for item in value for one in unfrozen(item)]
        return inside if isinstance(value, FrozenList) else [value, *inside]
    return []


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_nested_values_are_frozen_on_any_access(
    content: Any, route: Callable[[Any], list[Any]]
) -> None:
    reached = route(content)
    assert any(isinstance(value, (dict, list, tuple)) for value in reached)
    assert unfrozen(tuple(reached)) == []


@pytest.mark.xfail(reason="list's own C code concatenates without calling FrozenList")
def test_operator_concat_result_is_frozen() -> None:
    content = received(CONTENT).content
    assert unfrozen(tuple(operator.concat([], content["list"]))) == []


@pytest.mark.xfail(reason="FrozenList.__radd__ comes before list's own +=, and makes a new list")
def test_plain_list_is_extended_in_place(content: Any) -> None:
    plain = collected = [0]
    plain += content["list"]
    assert len(collected) == 4


def test_nested_value_is_the_same_object_each_time(content: Any) -> None:
    assert content["dict"]["dict"] is content["dict"]["dict"]
    assert content["list"][0] is content["list"][0]


def test_failed_lookups_raise_like_plain_ones(content: Any) -> None:
    with pytest.raises(KeyError, match="nothing"):
        operator.getitem(content, "nothing")
    with pytest.raises(IndexError):
        operator.getitem(content["list"], 9)
    with pytest.raises(TypeError):
        operator.getitem(content["list"], "x")
    with pytest.raises(TypeError):
        operator.or_(content, 1)
    with pytest.raises(TypeError):
        operator.add(content["list"], (1,))
    assert "nothing" not in content


# Readers can use it as a dict and a list.


def test_frozen_equals_plain(content: Any) -> None:
    assert content == CONTENT
    assert CONTENT == content
    assert content["list"] == CONTENT["list"]
    assert content != {**CONTENT, "number": 8}
    assert (isinstance(content, dict), isinstance(content["list"], list)) == (True, True)
    assert (list(content), len(content), list(reversed(content))) == (
        list(CONTENT),
        3,
        list(reversed(CONTENT)),
    )
    assert content.keys() == CONTENT.keys()
    assert ("number", 7) in content.items()
    assert 7 in content.values()
    assert (content["list"].index("text"), content["list"].count("text")) == (2, 1)
    assert repr(received(CONTENT).content) == repr(CONTENT)


def test_json_encodes_frozen_content(content: Any) -> None:
    assert json.dumps(content) == json.dumps(CONTENT)
    assert json.dumps(content, indent=1, sort_keys=True) == json.dumps(
        CONTENT, indent=1, sort_keys=True
    )
    assert json.loads("".join(json.JSONEncoder().iterencode(content))) == CONTENT


def test_msgspec_encodes_frozen_content(content: Any) -> None:
    assert msgspec.json.encode(content) == msgspec.json.encode(CONTENT)
    assert msgspec.to_builtins(content) == CONTENT
    assert msgspec.convert(content, dict[str, Any]) == CONTENT


def test_nbformat_accepts_frozen_content(make: Callable[[dict[str, Any]], AnyMessage]) -> None:
    output = make({"data": {"text/plain": ["4", "2"]}, "metadata": {"a": [1]}}).content
    notebook = make(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python"}},
            "cells": [
                {
                    "id": "a",
                    "cell_type": "code",
                    "source": ["6 * 7"],
                    "execution_count": 1,
                    "metadata": {},
                    "outputs": [{"output_type": "display_data", **output}],
                }
            ],
        }
    ).content
    nbformat.validate(notebook)
    with pytest.raises(nbformat.ValidationError):
        nbformat.validate({**notebook, "cells": [{"id": "a"}]})


@given(json_objects)
def test_json_object_round_trips(value: dict[str, Any]) -> None:
    for make in (created, received, unpickled, replaced):
        content = make(value).content
        assert content == value
        assert unfrozen((content,)) == []
        assert json.loads(json.dumps(content)) == value
        assert msgspec.json.decode(msgspec.json.encode(content)) == value


# Copies.


def plain_all_through(value: Any) -> bool:
    if isinstance(value, dict):
        return type(value) is dict and all(map(plain_all_through, value.values()))
    if isinstance(value, list):
        return type(value) is list and all(map(plain_all_through, value))
    return True


@given(json_objects)
def test_deep_copy_is_plain(value: dict[str, Any]) -> None:
    for make in (created, received):
        content = make(value).content
        assert plain_all_through(copy.deepcopy(content))
        assert copy.deepcopy(content) == value
        list(map(repr, content.values()))  # some of it frozen by now
        assert plain_all_through(copy.deepcopy(content))


def test_deep_copy_is_independent(content: Any) -> None:
    copied = copy.deepcopy(content)
    copied["dict"]["dict"]["x"].append(2)
    copied["list"].sort(key=str)
    copied.clear()
    assert content == CONTENT
    nested = copy.deepcopy(content["list"])
    nested[0]["dict"]["z"] = 0
    assert content == CONTENT


def test_shallow_copy_is_mutable_at_its_top(content: Any) -> None:
    copied = content.copy()
    copied["number"] = 8
    words = content["list"].copy()
    words.append(1)
    assert content == CONTENT
    assert (type(copied), type(words)) == (dict, list)


def test_copy_of_immutable_returns_itself(message: AnyMessage) -> None:
    assert copy.copy(message) is message
    assert copy.deepcopy(message) is message
    assert copy.copy(message.content) is message.content
    assert copy.copy(message.content["list"]) is message.content["list"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_message_is_equal(message: AnyMessage, protocol: int) -> None:
    message = message.replace(
        buffers=[b"abc", b""], raw=RawParts(b"1", b"2", b"3", b"4"), parent_header=Header("0")
    )
    again = pickle.loads(pickle.dumps(message, protocol))  # noqa: S301
    assert again == message
    assert (again.raw, list(map(bytes, again.buffers))) == (message.raw, [b"abc", b""])
    assert unfrozen((again.content, again.metadata)) == []
    assert all(buffer.readonly for buffer in again.buffers)


def test_unpickled_part_is_frozen(content: Any) -> None:
    for part in (content, content["dict"], content["list"]):
        again = pickle.loads(pickle.dumps(part))  # noqa: S301
        assert again == part
        assert unfrozen((again,)) == []


# Equality and hash.


def test_messages_are_equal_by_value() -> None:
    message = received(CONTENT)
    assert message == received(CONTENT)
    assert hash(message) == hash(received(CONTENT))
    assert {message: 1}[received(CONTENT)] == 1
    assert message == message.replace(raw=RawParts(b"{}", b"{}", b"{}", b"{}"))


@pytest.mark.parametrize(
    "changes",
    [
        {"channel": ChannelName.IOPUB},
        {"header": Header("2", "x")},
        {"parent_header": Header("2")},
        {"metadata": {}},
        {"content": {**CONTENT, "number": 8}},
        {"buffers": [b"a"]},
    ],
    ids=lambda changes: str(*changes),
)
def test_messages_differ_by_any_part(changes: dict[str, Any]) -> None:
    message = received(CONTENT)
    assert message.replace(**changes) != message
    assert message.replace(**changes) == message.replace(**changes)


def test_message_differs_from_other_types() -> None:
    message = received(CONTENT)
    assert message != message.content
    assert message != message.header
    assert message.__eq__(1) is NotImplemented


def test_headers_are_equal_by_value_and_hashable() -> None:
    assert {Header("1", "x"): "found"}[Header("1", "x")] == "found"
    assert Header("1") != Header("2")
    assert Header("1")
    assert not Header()


# Independence from the caller's objects.


def test_message_copies_passed_containers() -> None:
    given = copy.deepcopy(CONTENT)
    about = {"tags": ["a"]}
    for message in (
        create_message("x", given, metadata=about),
        Message(ChannelName.SHELL, Header("1"), Header(), about, given),
        create_message("x").replace(content=given, metadata=about),
    ):
        given["dict"]["dict"]["x"].append(2)
        given["list"][0]["dict"].clear()
        given["new"] = 1
        about["tags"].append("b")
        assert message.content == CONTENT
        assert message.metadata == {"tags": ["a"]}
        given, about = copy.deepcopy(CONTENT), {"tags": ["a"]}


def test_mappings_and_sequences_are_converted() -> None:
    message = create_message(
        "x",
        MappingProxyType(
            {
                "a": (1, (2,)),
                "b": OrderedDict(c=range(2)),
                "d": UserDict(e=deque([1])),
                "f": ChainMap({"g": 1}),
            }
        ),
    )
    assert message.content == {
        "a": [1, [2]],
        "b": {"c": [0, 1]},
        "d": {"e": [1]},
        "f": {"g": 1},
    }
    assert unfrozen((message.content,)) == []


def test_subclasses_of_plain_values_become_plain() -> None:
    class Word(str):
        pass

    class Colour(StrEnum):
        RED = "red"

    class Level(IntEnum):
        LOW = 1

    class Half(float):
        pass

    values = {"a": Word("é"), "b": Colour.RED, "c": Level.LOW, "d": Half(0.5), "e": True}
    content = create_message("x", values).content
    assert content == {"a": "é", "b": "red", "c": 1, "d": 0.5, "e": True}
    assert [type(value) for value in content.values()] == [str, str, int, float, bool]


# Buffers.


def buffers(*given: Any) -> list[bytes]:
    views = create_message("x", buffers=given).buffers
    assert all(view.readonly and (view.format, view.ndim) == ("B", 1) for view in views)
    return [bytes(view) for view in views]


def test_buffers_are_read_only_views() -> None:
    view = create_message("x", buffers=[b"abc"]).buffers[0]
    with pytest.raises(TypeError, match="read-only"):
        view[0] = 1


def test_bytes_buffers_are_not_copied() -> None:
    data = b"abc"
    assert create_message("x", buffers=[data]).buffers[0].obj is data
    assert create_message("x", buffers=[memoryview(data)[1:]]).buffers[0].obj is data


def test_writable_buffers_are_copied() -> None:
    data, numbers = bytearray(b"abc"), (ctypes.c_int32 * 2)(1, 2)
    given: list[Any] = [data, memoryview(data), memoryview(data).toreadonly(), numbers]
    message = create_message("x", buffers=given)
    data[:] = b"xyz"
    numbers[0] = 9
    assert [bytes(view) for view in message.buffers[:3]] == [b"abc"] * 3
    assert message.buffers[3].cast("i").tolist() == [1, 2]


def test_buffers_of_any_shape_become_bytes() -> None:
    table = memoryview(bytes(range(6)))
    assert buffers(table.cast("B", (2, 3)), table.cast("H"), table[::2], b"") == [
        bytes(range(6)),
        bytes(range(6)),
        b"\x00\x02\x04",
        b"",
    ]


def test_fortran_arrays_become_row_major_bytes() -> None:
    testbuffer = pytest.importorskip("_testbuffer")  # as numpy has them
    columns = testbuffer.ndarray(
        [1, 2, 3, 4], shape=[2, 2], format="B", flags=testbuffer.ND_FORTRAN
    )
    assert buffers(columns) == [columns.tobytes()]


@pytest.mark.parametrize("wrong", ["text", 7, None, [1], object()])
def test_non_buffer_raises_invalid_message(wrong: Any) -> None:
    with pytest.raises(
        InvalidMessage, match=f"a buffer must be bytes-like, not {type(wrong).__name__}"
    ):
        create_message("x", buffers=[b"", wrong])


# Reprs.


def test_message_repr_is_short() -> None:
    content = {"code": "x" * 100_000, "list": list(range(1000)), "deep": CONTENT}
    message = create_message("execute_request", content, buffers=[b"abc", b"d"])
    assert repr(message).startswith("<shell execute_request {'code': 'xxx")
    assert repr(message).endswith(" +2 buffers>")
    assert len(repr(message)) < 300


@pytest.mark.parametrize("channel", ["stdin", "shell"])
def test_message_repr_hides_input_reply(channel: str) -> None:
    message = create_message("input_reply", {"value": "hunter2"}, channel=channel)
    assert repr(message) == f"<{channel} input_reply …>"
    assert "hunter2" not in f"{message}{message!r}{[message]}"


# Values that JSON cannot represent.


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "content.a[1].b must be a finite number, not nan"),
        (-math.inf, "content.a[1].b must be a finite number, not -inf"),
        (b"x", "content.a[1].b must be a JSON value, not bytes"),
        (bytearray(), "content.a[1].b must be a JSON value, not bytearray"),
        (memoryview(b""), "content.a[1].b must be a JSON value, not memoryview"),
        ({1}, "content.a[1].b must be a JSON value, not set"),
        (1j, "content.a[1].b must be a JSON value, not complex"),
        (object(), "content.a[1].b must be a JSON value, not object"),
        (len, "content.a[1].b must be a JSON value, not builtin_function_or_method"),
        ({1: 2}, "a key of content.a[1].b must be a string, not 1"),
        ({None: 2}, "a key of content.a[1].b must be a string, not None"),
        ({b"k": 2}, "a key of content.a[1].b must be a string, not b'k'"),
        ("\ud83d", "content.a[1].b contains a lone surrogate, which UTF-8 cannot encode"),
        (["", "\udfff"], "content.a[1].b[1] contains a lone surrogate, which UTF-8 cannot encode"),
        (
            {"\udfff": 1},
            "a key of content.a[1].b contains a lone surrogate, which UTF-8 cannot encode",
        ),
    ],
    ids=lambda value: type(value).__name__,  # same in all processes
)
def test_non_json_value_error_names_path(value: Any, expected: str) -> None:
    content = {"a": [0, {"b": value}]}
    for make in (created, replaced):
        with pytest.raises(InvalidMessage) as raised:
            make(content)
        assert str(raised.value) == expected
    with pytest.raises(InvalidMessage, match="^(a key of )?metadata"):
        create_message("x", metadata=content)


def test_too_deep_nesting_raises_invalid_message() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidMessage, match="content is nested too deeply"):
        create_message("x", {"a": endless})


@pytest.mark.parametrize("part", [[1], "text", 7, None])
def test_non_dict_part_raises_invalid_message(part: Any) -> None:
    with pytest.raises(InvalidMessage, match="content must be a dict, not "):
        create_message("x").replace(content=part)
    with pytest.raises(InvalidMessage, match="metadata must be a dict, not "):
        create_message("x").replace(metadata=part)


def test_unknown_channel_error_lists_channels() -> None:
    expected = "channel must be one of shell, iopub, stdin, control, heartbeat, not 'iopup'"
    with pytest.raises(InvalidMessage) as raised:
        create_message("x", channel="iopup")
    assert str(raised.value) == expected
    with pytest.raises(InvalidMessage) as raised:
        create_message("x").replace(channel="iopup")
    assert str(raised.value) == expected


# Replacing and creating messages.


def test_replace_changes_only_given_attributes() -> None:
    message = received(CONTENT).replace(raw=RawParts(b"{}", b"{}", b"{}", b"{}"))
    changed = message.replace(channel="control", content={"a": [{}]})
    assert (changed.channel, changed.content) == (ChannelName.CONTROL, {"a": [{}]})
    assert changed.header is message.header
    assert changed.metadata is message.metadata
    assert changed.raw is None  # raw would be wrong
    assert unfrozen((changed.content,)) == []
    with pytest.raises(TypeError, match="colour"):
        message.replace(colour="red")


def test_new_message_has_only_an_id() -> None:
    header = create_message("x", subshell_id="s").header
    assert header.msg_id
    assert (header.msg_type, header.version, header.subshell_id) == ("x", "5.5", "s")
    assert (header.session, header.username, header.date) == ("", "", "")


def test_parent_header_is_kept_unchanged() -> None:
    parent = create_message("x").replace(
        header=Header("1", "x", date="2024-01-01T00:00:00.000Z", extra=FrozenDict({"odd": 1}))
    )
    assert create_message("y", parent=parent).parent_header == parent.header
    assert create_message("y", parent=parent.header).parent_header.to_dict() == {
        "msg_id": "1",
        "msg_type": "x",
        "session": "",
        "username": "",
        "date": "2024-01-01T00:00:00.000Z",
        "version": "",
        "odd": 1,
    }
    assert create_message("y").parent_header.to_dict() == {}


# -- JSON objects -------------------------------------------------------------------------------


def is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(map(is_plain, value.values()))
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


def full_message() -> AnyMessage:
    return Message(
        ChannelName.IOPUB,
        Header("1", "stream", "s", "ada", "2026", "5.5", "sub", FrozenDict({"more": {"a": [1]}})),
        Header("0", "execute_request"),
        {"deep": {"list": [{"b": None}]}},
        CONTENT,
        (memoryview(b"\x00\xff"), memoryview(b"")),
    )


def test_message_dict_is_plain_json() -> None:
    fields = full_message().to_dict()
    assert list(fields) == [
        "channel",
        "header",
        "parent_header",
        "metadata",
        "content",
        "buffers",
    ]
    assert is_plain(fields)
    assert json.loads(json.dumps(fields)) == fields
    assert fields["channel"] == "iopub"
    assert fields["header"]["more"] == {"a": [1]}
    assert fields["buffers"] == ["AP8=", ""]
    fields["content"]["list"].append(1)
    assert full_message().content == CONTENT


@pytest.mark.parametrize("message", [full_message(), create_message("woo")])
def test_message_from_its_dict_is_equal(message: AnyMessage) -> None:
    assert Message.from_dict(json.loads(json.dumps(message.to_dict()))) == message


def test_message_from_websocket_object() -> None:
    """A server's object also has the id and type at the top, and may have no channel."""
    made = Message.from_dict(
        {"header": {"msg_id": "1", "msg_type": "woo", "subshell_id": None}, "msg_id": "1"}
        | {"msg_type": "woo", "parent_header": {}, "buffers": [b"ab"]}
    )
    assert (made.channel, made.msg_id, made.msg_type) == (ChannelName.SHELL, "1", "woo")
    assert made.header.subshell_id is None
    assert list(map(bytes, made.buffers)) == [b"ab"]
    assert not made.parent_header
    assert (made.content, made.metadata) == ({}, {})


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "a message must be a dict, not list"),
        ({"channel": "woo"}, "channel must be one of"),
        ({"header": "x"}, "header must be a dict, not str"),
        ({"parent_header": {"msg_id": 3}}, "parent_header.msg_id must be a string, not 3"),
        ({"content": []}, "content must be a dict, not list"),
        ({"metadata": {"x": math.nan}}, "metadata.x must be a finite number"),
        ({"buffers": "AP8="}, "buffers must be a list, not str"),
        ({"buffers": ["?"]}, "a buffer must be base64"),
        ({"buffers": [3]}, "a buffer must be bytes-like, not int"),
    ],
)
def test_invalid_message_dict_names_part(fields: Any, text: str) -> None:
    with pytest.raises(InvalidMessage, match=text):
        Message.from_dict(fields)
