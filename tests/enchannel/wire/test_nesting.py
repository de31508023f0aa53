"""The nesting limit of JSON."""

import gc
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enchannel.errors import MalformedFrame
from enchannel.wire.legacy_websocket import decode as decode_legacy
from enchannel.wire.nesting import MAX_DEPTH, is_too_deep
from enchannel_socketio._packet import Packet
from tests.enchannel.wire.reader import Reader
from tests.enchannel.wire.test_legacy_websocket import written
from tests.rigs.frames import KEY, parts, signed

BRACKETS_IN_TEXT = st.text('[]{}"\\,:xé\n', max_size=30)
VALUES = st.recursive(
    st.none() | st.integers() | BRACKETS_IN_TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(BRACKETS_IN_TEXT, inner, max_size=4)
    ),
)


def lists(depth: int, inner: bytes = b"") -> bytes:
    return b"[" * depth + inner + b"]" * depth


def objects(depth: int, inner: bytes = b"1") -> bytes:
    return b'{"a":' * depth + inner + b"}" * depth


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(VALUES)
def test_depth_equals_depth_of_decoded_value(value: Any) -> None:
    written = json.dumps(value, ensure_ascii=False).encode()
    missing = MAX_DEPTH - depth_of(value)
    assert not is_too_deep(lists(missing, written))
    assert is_too_deep(lists(missing + 1, written))


@pytest.mark.parametrize("nest", [lists, objects])
def test_limit_is_exact(nest: Callable[[int], bytes]) -> None:
    assert not is_too_deep(nest(MAX_DEPTH))
    assert is_too_deep(nest(MAX_DEPTH + 1))


def test_brackets_in_strings_do_not_count() -> None:
    assert not is_too_deep(json.dumps({"text": "[{" * 1_000}).encode())
    assert not is_too_deep(json.dumps(['\\"[' * 500, "\\" * 501, "[" * 500]).encode())


def test_closing_brackets_in_strings_do_not_hide_depth() -> None:
    assert is_too_deep(b'["]",' * (MAX_DEPTH + 1))
    assert is_too_deep(b'["\\"]",' * (MAX_DEPTH + 1))


def test_unclosed_brackets_count() -> None:
    assert is_too_deep(b"[" * (MAX_DEPTH + 1))


# Finalizers that run while a decoder is near the recursion limit.


@pytest.fixture
def failed_finalizers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    failed: list[object] = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda unraisable: failed.append(unraisable.exc_value)
    )
    before = gc.get_threshold()
    yield failed
    gc.set_threshold(*before)


class Cycle:
    """Garbage that only the collector finds, with a finalizer that calls functions."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        (lambda: (lambda: None)())()


def decode_socketio(json: bytes) -> object:
    return Packet.json.loads(json.decode())


BOMB = lists(2_000)
DECODERS: dict[str, Callable[[], object]] = {
    "zmq": lambda: Reader()(signed(KEY, *parts()[:3], b'{"a":' + BOMB + b"}")),
    "zmq, in the metadata": lambda: Reader()(
        signed(KEY, *parts()[:2], b'{"a":' + BOMB + b"}", b"{}")
    ),
    "legacy websocket": lambda: decode_legacy(
        written(*parts()[:3], b'{"a":' + BOMB + b"}").decode()
    ),
    "legacy websocket, not strict": lambda: decode_legacy(
        written(*parts()[:3], b'{"n":NaN,"a":' + BOMB + b"}").decode()
    ),
    "Socket.IO": lambda: decode_socketio(BOMB),
    "Socket.IO, not strict": lambda: decode_socketio(b"[NaN," + BOMB + b"]"),
    "Socket.IO, a message": lambda: decode_socketio(b'["msg",{},' + BOMB + b"]"),
}


@pytest.mark.parametrize("name", DECODERS)
def test_finalizers_run_far_from_recursion_limit(
    name: str, failed_finalizers: list[object]
) -> None:
    # So that each of the collections below looks at few objects.
    gc.collect()
    gc.freeze()
    for allocations in range(sys.getrecursionlimit() - 250, sys.getrecursionlimit()):
        gc.collect()
        Cycle()
        gc.set_threshold(allocations)
        with pytest.raises((MalformedFrame, ValueError)):
            DECODERS[name]()
        gc.set_threshold(0)
    assert not failed_finalizers
