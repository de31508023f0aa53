"""What both sides say: comms; and what both sides' builders are made with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, Buffer, Header, Message, create_message
from enchannel.contents import CommClose, CommMsg, CommOpen

__all__ = ["Parent", "build", "comm_close", "comm_msg", "comm_open", "is_child_message"]

Parent: TypeAlias = AnyMessage | Header


def build(
    msg_type: str,
    content: Mapping[str, Any],
    *,
    channel: ChannelName | str = ChannelName.SHELL,
    parent: Parent | None = None,
    metadata: Mapping[str, Any] | None = None,
    buffers: Iterable[Buffer] = (),
    subshell_id: str | None = None,
) -> AnyMessage:
    """``create_message`` for a caller whose own annotation says what the content is."""
    return create_message(
        msg_type,
        content,
        channel=channel,
        parent=parent,
        metadata=metadata,
        buffers=buffers,
        subshell_id=subshell_id,
    )


def is_child_message(parent: Parent, message: AnyMessage) -> bool:
    """Whether the message belongs to that request: an answer to it, or output of it."""
    header = parent.header if isinstance(parent, Message) else parent
    return bool(header.msg_id) and message.parent_header.msg_id == header.msg_id


def comm_open(
    comm_id: str,
    target_name: str,
    data: Mapping[str, Any] | None = None,
    *,
    target_module: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    buffers: Iterable[Buffer] = (),
    parent: Parent | None = None,
    channel: ChannelName | str = ChannelName.SHELL,
) -> Message[CommOpen]:
    """Open a comm; a client says so on shell (the default), a kernel on iopub.

    ``metadata`` is the message's own.
    """
    content: dict[str, Any] = {
        "comm_id": comm_id,
        "target_name": target_name,
        "data": {} if data is None else data,
    }
    if target_module is not None:
        content["target_module"] = target_module
    return build(
        "comm_open", content, channel=channel, parent=parent, metadata=metadata, buffers=buffers
    )


def comm_msg(
    comm_id: str,
    data: Mapping[str, Any] | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    buffers: Iterable[Buffer] = (),
    parent: Parent | None = None,
    channel: ChannelName | str = ChannelName.SHELL,
) -> Message[CommMsg]:
    """Say something on an open comm: a client on shell (the default), a kernel on iopub."""
    content = {"comm_id": comm_id, "data": {} if data is None else data}
    return build(
        "comm_msg", content, channel=channel, parent=parent, metadata=metadata, buffers=buffers
    )


def comm_close(
    comm_id: str,
    data: Mapping[str, Any] | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    buffers: Iterable[Buffer] = (),
    parent: Parent | None = None,
    channel: ChannelName | str = ChannelName.SHELL,
) -> Message[CommClose]:
    """Close a comm: a client says so on shell (the default), a kernel on iopub."""
    content = {"comm_id": comm_id, "data": {} if data is None else data}
    return build(
        "comm_close", content, channel=channel, parent=parent, metadata=metadata, buffers=buffers
    )
