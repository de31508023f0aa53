"""A message that never changes, with the bytes it came in."""

from __future__ import annotations

import reprlib
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec.structs import force_setattr

from enchannel._protocol.channel_name import ChannelName
from enchannel.errors import InvalidMessage
from enchannel.frozen import EMPTY, FrozenDict, freeze

__all__ = [
    "AnyMessage",
    "Buffer",
    "FrozenBuffers",
    "Header",
    "Message",
    "RawParts",
    "create_message",
]

PROTOCOL_VERSION = "5.5"

Content = TypeVar("Content", bound=Mapping[str, Any], covariant=True)
Buffer: TypeAlias = bytes | bytearray | memoryview


class Header(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Who said it, and when. What a kernel left out is an empty string.

    Attributes:
        msg_id: Unique, and opaque.
        msg_type: ``"execute_request"``, ``"stream"``, …
        session: The sender's: a client's own, or one for each life of a kernel.
        username: May be empty.
        date: ISO 8601, as the sender wrote it (kernels differ, and some leave it out).
        version: Of the protocol the sender speaks.
        subshell_id: The subshell that a shell request is for; None is the main one.
        extra: Fields that the protocol does not know.
    """

    msg_id: str = ""
    msg_type: str = ""
    session: str = ""
    username: str = ""
    date: str = ""
    version: str = ""
    subshell_id: str | None = None
    extra: FrozenDict = EMPTY

    def __post_init__(self) -> None:
        if type(self.extra) is not FrozenDict:
            force_setattr(self, "extra", freeze(self.extra, "header"))

    def __bool__(self) -> bool:
        return bool(self.msg_id)

    def __hash__(self) -> int:
        return hash(self.msg_id)

    def to_dict(self) -> dict[str, Any]:
        """The header as the wire has it, a plain dict; an absent one is ``{}``."""
        if not self:
            return {}
        known = {name: getattr(self, name) for name in _ALWAYS}
        if self.subshell_id is not None:
            known["subshell_id"] = self.subshell_id
        return known | self.extra.copy()


_ALWAYS = ("msg_id", "msg_type", "session", "username", "date", "version")
NO_HEADER = Header()


class RawParts(NamedTuple):
    """The four JSON parts of a message as the bytes that came."""

    header: bytes
    parent_header: bytes
    metadata: bytes
    content: bytes


class FrozenBuffers(tuple[memoryview, ...]):
    """Views of what nobody else can write to; who makes one vouches for that."""

    __slots__ = ()


class Message(
    msgspec.Struct, Generic[Content], frozen=True, eq=False, gc=False, repr_omit_defaults=True
):
    """One message of the Jupyter protocol. Equal by value, hashed by its id, picklable.

    It never changes: ``replace`` makes a changed one, ``copy.deepcopy(message.content)`` a plain dict.

    Attributes:
        channel: The channel it came from, or is for.
        header: Its own header.
        parent_header: The header of the request that it belongs to; empty (and false) without one.
        metadata: A frozen dict.
        content: A frozen dict, typed by what ``msg_type`` says it holds.
        buffers: Raw binary parts, read-only views of bytes.
        raw: The JSON parts as they came, for a message that came over a wire and was not replaced.
    """

    channel: ChannelName
    header: Header
    parent_header: Header
    metadata: dict[str, Any]
    content: Content
    buffers: tuple[memoryview, ...] = FrozenBuffers()
    raw: RawParts | None = None

    def __post_init__(self) -> None:
        if type(self.content) is not FrozenDict:
            force_setattr(self, "content", _frozen_part(self.content, "content"))
        if type(self.metadata) is not FrozenDict:
            force_setattr(self, "metadata", _frozen_part(self.metadata, "metadata"))
        if type(self.channel) is not ChannelName:
            force_setattr(self, "channel", _channel_name(self.channel))
        if type(self.buffers) is not FrozenBuffers:
            force_setattr(self, "buffers", FrozenBuffers(map(_frozen_view, self.buffers)))

    def replace(self, **changes: Any) -> Message[Content]:
        """The same message with some of its attributes changed.

        Raises:
            TypeError: an attribute that a message does not have.
        """
        changes.setdefault("raw", None)
        return msgspec.structs.replace(self, **changes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (
            self.channel is other.channel
            and self.header == other.header
            and self.parent_header == other.parent_header
            and self.content == other.content
            and self.metadata == other.metadata
            and self.buffers == other.buffers
        )

    def __hash__(self) -> int:
        return hash(self.header.msg_id)

    def __copy__(self) -> Message[Content]:
        return self

    def __deepcopy__(self, memo: object) -> Message[Content]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        buffers = tuple(map(bytes, self.buffers))
        parts = (self.channel, self.header, self.parent_header, self.metadata, self.content)
        return Message, (*parts, buffers, self.raw)

    def __repr__(self) -> str:
        secret = self.header.msg_type == "input_reply"  # often a password
        content = "…" if secret else reprlib.repr(dict(self.content))
        buffers = f" +{len(self.buffers)} buffers" if self.buffers else ""
        return f"<{self.channel.value} {self.header.msg_type} {content}{buffers}>"


AnyMessage: TypeAlias = Message[Any]


def create_message(
    msg_type: str,
    content: Mapping[str, Any] | None = None,
    *,
    channel: ChannelName | str = ChannelName.SHELL,
    parent: AnyMessage | Header | None = None,
    metadata: Mapping[str, Any] | None = None,
    buffers: Iterable[Buffer] = (),
    subshell_id: str | None = None,
) -> Message[dict[str, Any]]:
    """A message of any type, with a fresh ``msg_id``.

    Session, user name and date are left empty: the kernel's channel fills them in when it is sent.

    Args:
        msg_type: What the header says.
        content: JSON values; copied, so that later changes do not reach the message.
        channel: The channel it is for.
        parent: The request that it belongs to.
        metadata: JSON values.
        buffers: Raw binary parts; one that its owner could still change is copied.
        subshell_id: The subshell that a shell request is for.

    Raises:
        InvalidMessage: a value that JSON has no word for, named by its path.
    """
    return Message(
        channel=_channel_name(channel),
        header=Header(
            msg_id=uuid.uuid4().hex,
            msg_type=msg_type,
            version=PROTOCOL_VERSION,
            subshell_id=subshell_id,
        ),
        parent_header=_header_of(parent),
        metadata=EMPTY if metadata is None else freeze(metadata, "metadata"),
        content=EMPTY if content is None else freeze(content, "content"),
        buffers=tuple(buffers),  # type: ignore[arg-type]  # made into views by the message
    )


def now() -> str:
    """The time as the protocol writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _header_of(parent: AnyMessage | Header | None) -> Header:
    if parent is None:
        return NO_HEADER
    header = parent.header if isinstance(parent, Message) else parent
    if not isinstance(header, Header):
        raise InvalidMessage(f"a {type(parent).__name__} is no parent; a message or a header is")
    return header


def _channel_name(channel: ChannelName | str) -> ChannelName:
    try:
        return ChannelName(channel)
    except ValueError:
        known = ", ".join(ChannelName)
        raise InvalidMessage(f"there is no channel {channel!r}; there are {known}") from None


def _frozen_part(part: object, name: str) -> FrozenDict:
    if not isinstance(part, Mapping):
        raise InvalidMessage(f"{name} is a {type(part).__name__}, and has to be a dict")
    frozen: FrozenDict = freeze(part, name)
    return frozen


def _frozen_view(buffer: object) -> memoryview:
    """A read-only view of bytes; of a copy, if somebody could still write to what it shows."""
    try:
        view = memoryview(buffer)  # type: ignore[arg-type]  # what is no buffer is told below
    except TypeError:
        raise InvalidMessage(
            f"a buffer is a {type(buffer).__name__}, and has to be bytes"
        ) from None
    if not isinstance(view.obj, bytes) or not view.c_contiguous:  # a read-only view of what is not
        return memoryview(view.tobytes())
    return view.cast("B") if view.format != "B" or view.ndim != 1 else view
