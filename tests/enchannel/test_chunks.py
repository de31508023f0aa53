"""A chunks is what adding would give, and costs no more than a few copies of it."""

import math
from operator import add

from hypothesis import given
from hypothesis import strategies as st

from enchannel._outputs.chunks import Chunks, append, in_order


def text_of(chunks: Chunks[str] | None) -> str:
    return "".join(in_order(chunks))


def test_nothing_has_no_pieces() -> None:
    assert in_order(None) == []


@given(st.lists(st.text(min_size=1)))
def test_it_is_all_that_was_added_in_order(texts: list[str]) -> None:
    chunks: Chunks[str] | None = None
    for text in texts:
        chunks = append(chunks, text, add)
    assert text_of(chunks) == "".join(texts)


@given(st.lists(st.tuples(st.integers(min_value=0), st.text(min_size=1))))
def test_every_state_stays_as_it_was(steps: list[tuple[int, str]]) -> None:
    """Also when something else is added to an old one."""
    states: list[tuple[Chunks[str] | None, str]] = [(None, "")]
    for which, text in steps:
        chunks, expected = states[which % len(states)]
        states.append((append(chunks, text, add), expected + text))
    assert [text_of(chunks) for chunks, _ in states] == [expected for _, expected in states]


@given(st.lists(st.text(min_size=1), min_size=1))
def test_it_is_not_deep(texts: list[str]) -> None:
    chunks: Chunks[str] | None = None
    for text in texts:
        chunks = append(chunks, text, add)
    assert len(in_order(chunks)) <= math.log2(len("".join(texts))) + 1


def test_it_is_not_deep_though_each_piece_is_a_bit_shorter() -> None:
    chunks: Chunks[str] | None = None
    for length in range(100, 0, -1):
        chunks = append(chunks, "x" * length, add)
    assert len(in_order(chunks)) <= math.log2(5050) + 1


def test_what_is_added_is_copied_a_few_times_only() -> None:
    copied = 0

    def join(older: str, newer: str) -> str:
        nonlocal copied
        copied += len(older) + len(newer)
        return older + newer

    n = 2**14
    chunks: Chunks[str] | None = None
    for _ in range(n):
        chunks = append(chunks, "x", join)
    assert copied <= 2 * n * math.log2(n)
