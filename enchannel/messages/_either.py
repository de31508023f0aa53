"""Constructors of the messages that clients and kernels send (comms), and helpers of all constructors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, Buffer, Header, Message, create_message
from enchannel.contents import CommClose, CommMsg, CommOpen

__all__ = ["Parent", "build", "comm_close", "comm_msg", "comm_open", "is_child_message"]

Parent: TypeAlias = AnyMessage | Header
"""The request that a message belongs to, or its header."""


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
    """Create a message; the caller's return annotation has the type of its content."""
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
    """Return True if a message is a reply to a request, or belongs to it in another way.

    Args:
        parent: The request, or its header.
        message: The message.
    """
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
    """Open a comm. Clients send it on shell (the default), kernels on iopub.

    Args:
        comm_id: A new id, chosen by the sender.
        target_name: The name under which the receiver registered a handler.
        data: The first data of the comm.
        target_module: A module that provides the handler; rarely used.
        metadata: The metadata of the message.
        buffers: Binary data.
        parent: The request that it belongs to.
        channel: The channel to send it on.
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
    """Send data on an open comm. Clients send it on shell (the default), kernels on iopub."""
    content = _comm_content(comm_id, data)
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
    """Close a comm. Clients send it on shell (the default), kernels on iopub."""
    content = _comm_content(comm_id, data)
    return build(
        "comm_close", content, channel=channel, parent=parent, metadata=metadata, buffers=buffers
    )


def _comm_content(comm_id: str, data: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"comm_id": comm_id, "data": {} if data is None else data}
