"""Messages for the codec's tests, and how to read them back."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from enchannel import ChannelName
from enchannel._message import AnyMessage, Header, create_message
from enchannel.errors import EnchannelError
from enchannel.wire.signing import Part, Signer
from enchannel.wire.zmq import Decoder
from tests.rigs.frames import KEY

text = st.text(st.characters(codec="utf-8"), max_size=9)
numbers = st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=8,
)
json_objects = st.dictionaries(text, json_values, max_size=3)
extra_fields = st.dictionaries(
    text.filter(lambda name: name not in {*Header.__struct_fields__}), json_values, max_size=2
)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    return Header(
        msg_id=draw(text.filter(bool)),
        msg_type=draw(text.filter(bool)),
        session=draw(text),
        username=draw(text),
        date=draw(text),
        version=draw(text),
        subshell_id=draw(st.none() | text),
        extra=create_message("x", draw(extra_fields)).content,  # type: ignore[arg-type]  # frozen
    )


@st.composite
def messages(draw: st.DrawFn) -> AnyMessage:
    made = create_message(
        "x",
        draw(json_objects),
        channel=draw(st.sampled_from([c for c in ChannelName if c is not ChannelName.HEARTBEAT])),
        metadata=draw(json_objects),
        buffers=draw(st.lists(st.binary(max_size=9), max_size=20)),
    )
    parent = draw(st.just(Header()) | headers())
    return made.replace(header=draw(headers()), parent_header=parent)


class Reader:
    """A decoder, and what it reported."""

    def __init__(
        self, key: bytes = KEY, scheme: str = "hmac-sha256", channel: str = "iopub"
    ) -> None:
        self.reports: list[EnchannelError] = []
        self.decoder = Decoder(ChannelName(channel), Signer(key, scheme), self.reports.append)

    def __call__(self, frames: Sequence[Part]) -> AnyMessage:
        return self.decoder.decode(frames)
