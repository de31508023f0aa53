"""Immutable messages, with the bytes in which they were received."""

from __future__ import annotations

import base64
import reprlib
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec.structs import force_setattr

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.errors import InvalidMessage
from enchannel.frozen import EMPTY, FrozenDict, freeze, thaw

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
    """The header of a message. Missing fields are empty strings.

    Attributes:
        msg_id: A unique, opaque id.
        msg_type: ``"execute_request"``, ``"stream"``, …
        session: The session of the sender: one per client, or one per start of a kernel.
        username: May be empty.
        date: ISO 8601, as the sender wrote it (formats differ between kernels).
        version: The protocol version of the sender.
        subshell_id: The subshell that receives a shell request; None for the main shell.
        extra: Fields that are not part of the protocol.
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
        """Return the header as a plain dict, as on the wire; ``{}`` for an absent one."""
        if not self:
            return {}
        known: dict[str, Any] = {name: getattr(self, name) for name in _REQUIRED_FIELDS}
        if self.subshell_id is not None:
            known["subshell_id"] = self.subshell_id
        known |= thaw(self.extra)
        return known

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Header:
        """Return the header with these fields; missing fields are empty, unknown fields go into ``extra``.

        Raises:
            InvalidMessage: ``fields`` is not a dict, or a field of the protocol is not a string.
        """
        return _header_from_dict(fields, "header")


_REQUIRED_FIELDS = ("msg_id", "msg_type", "session", "username", "date", "version")
_HEADER_FIELDS = (*_REQUIRED_FIELDS, "subshell_id")
NO_HEADER = Header()


class RawParts(NamedTuple):
    """The four JSON parts of a message as bytes, exactly as received."""

    header: bytes
    parent_header: bytes
    metadata: bytes
    content: bytes


class FrozenBuffers(tuple[memoryview, ...]):
    """Buffers whose memory no other code can write to; the caller guarantees this."""

    __slots__ = ()


class Message(
    msgspec.Struct, Generic[Content], frozen=True, eq=False, gc=False, repr_omit_defaults=True
):
    """A message of the Jupyter protocol: immutable, equal by value, hashed by its id, picklable.

    ``replace`` returns a changed message, and ``to_dict`` a mutable copy. Content and metadata are mappings
    that ``json.dumps``, msgspec and nbformat accept.

    Attributes:
        channel: The channel on which it was received or will be sent.
        header: The header of the message.
        parent_header: The header of the request that it belongs to; empty and falsy if there is none.
        metadata: An immutable mapping.
        content: An immutable mapping with the fields of the message type (see ``enchannel.contents``).
        buffers: Binary parts, as read-only views.
        raw: The JSON parts as received; None for messages that were created or replaced here.
    """

    channel: ChannelName
    header: Header
    parent_header: Header
    metadata: Mapping[str, Any]
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

    @property
    def msg_type(self) -> str:
        """The type in the header."""
        return self.header.msg_type

    @property
    def msg_id(self) -> str:
        """The id in the header."""
        return self.header.msg_id

    def to_dict(self) -> dict[str, Any]:
        """Return the message as a new JSON object of dicts and lists: that of Jupyter's WebSocket protocol.

        The keys are ``channel``, ``header``, ``parent_header``, ``metadata``, ``content`` and ``buffers``,
        with the buffers as base64 strings. ``enchannel run --json`` prints the same object.
        """
        return {
            "channel": self.channel.value,
            "header": self.header.to_dict(),
            "parent_header": self.parent_header.to_dict(),
            "metadata": thaw(self.metadata),
            "content": thaw(self.content),
            "buffers": [base64.b64encode(buffer).decode("ascii") for buffer in self.buffers],
        }

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Message[Mapping[str, Any]]:
        """Return the message of a JSON object in the form that ``to_dict`` returns.

        Args:
            fields: As ``to_dict`` returns it. Missing parts are empty, a missing channel is shell, and
                other keys are ignored. Buffers may be bytes-like as well.

        Raises:
            InvalidMessage: A part is invalid; the text names it.
        """
        if not isinstance(fields, Mapping):
            raise InvalidMessage(f"a message must be a dict, not {type(fields).__name__}")
        buffers = fields.get("buffers", ())
        if isinstance(buffers, (str, bytes)) or not isinstance(buffers, Iterable):
            raise InvalidMessage(f"buffers must be a list, not {type(buffers).__name__}")
        return Message(
            channel=_channel_name(fields.get("channel", ChannelName.SHELL)),
            header=_header_from_dict(fields.get("header", EMPTY), "header"),
            parent_header=_header_from_dict(fields.get("parent_header", EMPTY), "parent_header"),
            metadata=_frozen_part(fields.get("metadata", EMPTY), "metadata"),
            content=_frozen_part(fields.get("content", EMPTY), "content"),
            buffers=tuple(map(_buffer_from_json, buffers)),
        )

    def replace(self, **changes: Any) -> Message[Content]:
        """Return a copy of the message with some attributes changed.

        Raises:
            TypeError: an unknown attribute.
            InvalidMessage: an invalid value.
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
        secret = self.header.msg_type == "input_reply"  # may be a password
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
) -> Message[Mapping[str, Any]]:
    """Create a message of any type, with a new ``msg_id``.

    Session, user name and date stay empty: the channel fills them in when the message is sent.

    Args:
        msg_type: ``"execute_request"``, ``"comm_msg"``, …
        content: JSON values; copied, so that later changes do not affect the message.
        channel: The channel to send it on.
        parent: The request that it belongs to.
        metadata: JSON values.
        buffers: Binary parts; writable ones are copied.
        subshell_id: The subshell that receives a shell request; None for the main shell.

    Raises:
        InvalidMessage: an invalid channel, parent or buffer, or a value that JSON cannot represent; the
            text names its path.

    Example:
        >>> ec.create_message("execute_request", {"code": "6 * 7"})
        <shell execute_request {'code': '6 * 7'}>
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
        buffers=tuple(buffers),  # type: ignore[arg-type]  # becomes views
    )


def now() -> str:
    """Return the current time in UTC, in the protocol's format."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _header_of(parent: AnyMessage | Header | None) -> Header:
    if parent is None:
        return NO_HEADER
    header = parent.header if isinstance(parent, Message) else parent
    if not isinstance(header, Header):
        raise InvalidMessage(f"parent must be a Message or a Header, not {type(parent).__name__}")
    return header


def _header_from_dict(fields: object, name: str) -> Header:
    if not isinstance(fields, Mapping):
        raise InvalidMessage(f"{name} must be a dict, not {type(fields).__name__}")
    known = {field: fields[field] for field in _HEADER_FIELDS if fields.get(field) is not None}
    for field, value in known.items():
        if not isinstance(value, str):
            raise InvalidMessage(f"{name}.{field} must be a string, not {value!r}")
    extra = {field: value for field, value in fields.items() if field not in _HEADER_FIELDS}
    return Header(**known, extra=freeze(extra, name))


def _buffer_from_json(buffer: object) -> memoryview:
    if not isinstance(buffer, str):
        return _frozen_view(buffer)
    try:
        return memoryview(base64.b64decode(buffer, validate=True))
    except ValueError as error:
        raise InvalidMessage(f"a buffer must be base64: {error}") from None


def _channel_name(channel: ChannelName | str) -> ChannelName:
    try:
        return ChannelName(channel)
    except ValueError:
        known = ", ".join(ChannelName)
        raise InvalidMessage(f"channel must be one of {known}, not {channel!r}") from None


def _frozen_part(part: object, name: str) -> FrozenDict:
    if not isinstance(part, Mapping):
        raise InvalidMessage(f"{name} must be a dict, not {type(part).__name__}")
    frozen: FrozenDict = freeze(part, name)
    return frozen


def _frozen_view(buffer: object) -> memoryview:
    """Return a read-only view of bytes; of a copy, if the original is writable."""
    try:
        view = memoryview(buffer)  # type: ignore[arg-type]  # a TypeError if not a buffer
    except TypeError:
        raise InvalidMessage(f"a buffer must be bytes-like, not {type(buffer).__name__}") from None
    # A read-only view does not prove that the memory is: only bytes do.
    if not isinstance(view.obj, bytes) or not view.c_contiguous:
        return memoryview(view.tobytes())
    return view.cast("B") if view.format != "B" or view.ndim != 1 else view
