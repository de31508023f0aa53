"""Chunks equal plain concatenation, and copy each element only a few times."""

import math
from operator import add

from hypothesis import given
from hypothesis import strategies as st

from enchannel._outputs.chunks import Chunks, append, in_order


def text_of(chunks: Chunks[str] | None) -> str:
    return "".join(in_order(chunks))


def test_empty_sequence_has_no_chunks() -> None:
    assert in_order(None) == []


@given(st.lists(st.text(min_size=1)))
def test_chunks_are_in_order(texts: list[str]) -> None:
    chunks: Chunks[str] | None = None
    for text in texts:
        chunks = append(chunks, text, add)
    assert text_of(chunks) == "".join(texts)


@given(st.lists(st.tuples(st.integers(min_value=0), st.text(min_size=1))))
def test_earlier_chunks_stay_unchanged(steps: list[tuple[int, str]]) -> None:
    """Also when an earlier state is extended in another way."""
    states: list[tuple[Chunks[str] | None, str]] = [(None, "")]
    for which, text in steps:
        chunks, expected = states[which % len(states)]
        states.append((append(chunks, text, add), expected + text))
    assert [text_of(chunks) for chunks, _ in states] == [expected for _, expected in states]


@given(st.lists(st.text(min_size=1), min_size=1))
def test_chunk_count_is_logarithmic(texts: list[str]) -> None:
    chunks: Chunks[str] | None = None
    for text in texts:
        chunks = append(chunks, text, add)
    assert len(in_order(chunks)) <= math.log2(len("".join(texts))) + 1


def test_chunk_count_of_shrinking_chunks() -> None:
    chunks: Chunks[str] | None = None
    for length in range(100, 0, -1):
        chunks = append(chunks, "x" * length, add)
    assert len(in_order(chunks)) <= math.log2(5050) + 1


def test_append_copies_logarithmically() -> None:
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
