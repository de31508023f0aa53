"""Hypothesis strategies for messages and frames.

::

    @given(message=strategies.messages())
    def test_message_arrives_unchanged(message): ...
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from enchannel import AnyMessage, ChannelName, Header, create_message

__all__ = ["buffers", "frames", "headers", "json_objects", "json_values", "messages", "mutations"]

_FIELDS = frozenset(Header.__struct_fields__)
_CHANNELS = tuple(name for name in ChannelName if name is not ChannelName.HEARTBEAT)
_text = st.text(st.characters(codec="utf-8"), max_size=9)
_numbers = st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False, allow_infinity=False)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _numbers | _text,
    lambda inner: st.lists(inner) | st.dictionaries(_text, inner),
    max_leaves=8,
)
"""Any JSON value, including integers of any size."""

json_objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(_text, json_values, max_size=3)
"""JSON objects, as content and metadata are."""

buffers: st.SearchStrategy[list[bytes]] = st.lists(st.binary(max_size=9), max_size=20)
"""Lists of up to 20 buffers, which may be empty."""


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Draw a header, which may have fields that are not in the protocol."""
    extra = st.dictionaries(_text.filter(lambda name: name not in _FIELDS), json_values, max_size=2)
    return Header(
        msg_id=draw(_text.filter(bool)),
        msg_type=draw(_text.filter(bool)),
        session=draw(_text),
        username=draw(_text),
        date=draw(_text),
        version=draw(_text),
        subshell_id=draw(st.none() | _text),
        extra=create_message("x", draw(extra)).content,  # type: ignore[arg-type]  # frozen
    )


@st.composite
def messages(
    draw: st.DrawFn, channel: ChannelName | None = None, *, with_buffers: bool = True
) -> AnyMessage:
    """Draw a message.

    Args:
        draw: Supplied by hypothesis.
        channel: The channel of the message; any by default.
        with_buffers: Whether the message may have buffers.
    """
    made = create_message(
        "x",
        draw(json_objects),
        channel=channel or draw(st.sampled_from(_CHANNELS)),
        metadata=draw(json_objects),
        buffers=draw(buffers) if with_buffers else (),
    )
    return made.replace(header=draw(headers()), parent_header=draw(st.just(Header()) | headers()))


def frames(max_size: int = 12) -> st.SearchStrategy[list[bytes]]:
    """Return a strategy for multipart messages of ZeroMQ, most of which are invalid."""
    delimiter = st.just(b"<IDS|MSG>")
    json = st.sampled_from([b"{}", b"null", b"[]", b"", b'{"msg_id": "a", "msg_type": "b"}'])
    return st.lists(delimiter | json | st.binary(max_size=40), max_size=max_size)


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw a damaged copy of the data: parts cut out, inserted or repeated, bits flipped."""
    damaged = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        at, end = sorted((draw(st.integers(0, len(damaged))), draw(st.integers(0, len(damaged)))))
        kind = draw(st.sampled_from(["cut", "splice", "repeat", "flip"]))
        if kind == "cut":
            del damaged[at:end]
        elif kind == "splice":
            damaged[at:end] = draw(st.binary(max_size=9))
        elif kind == "repeat":
            damaged[at:at] = damaged[at:end]
        elif at < len(damaged):
            damaged[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(damaged)
