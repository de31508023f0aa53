"""The messages that kernels send in tests, and the parts of received ones that tests compare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import enchannel as ec
from enchannel import AnyMessage
from enchannel import messages as build

__all__ = [
    "answered",
    "busy",
    "idle",
    "printed",
    "reply_to",
    "started",
    "text_of",
    "texts",
    "types",
]


def busy(request: AnyMessage | None) -> AnyMessage:
    """Return the status ``busy``, with the request as its parent."""
    return build.status("busy", parent=request)


def started(request: AnyMessage) -> AnyMessage:
    """Return the ``execute_input`` of a request: from now on, its code can be interrupted."""
    return build.execute_input("", 1, parent=request)


def idle(request: AnyMessage | None) -> AnyMessage:
    """Return the status ``idle``, with the request as its parent."""
    return build.status("idle", parent=request)


def printed(text: str, request: AnyMessage | None = None) -> AnyMessage:
    """Return a stream message of stdout."""
    return build.stream("stdout", text, parent=request)


def reply_to(request: AnyMessage, **content: Any) -> AnyMessage:
    """Return the reply to a request of any type, on the request's channel."""
    msg_type = request.header.msg_type.replace("_request", "_reply")
    content.setdefault("status", "ok")
    return ec.create_message(msg_type, content, channel=request.channel, parent=request)


def answered(request: AnyMessage, *outputs: AnyMessage, **content: Any) -> list[AnyMessage]:
    """Return all messages of a request that succeeds: busy, outputs, reply and idle."""
    return [busy(request), *outputs, reply_to(request, **content), idle(request)]


def types(messages: Iterable[AnyMessage]) -> list[str]:
    """Return the types of messages, in order."""
    return [message.header.msg_type for message in messages]


def text_of(message: AnyMessage) -> str:
    """Return the text of a stream message."""
    text: str = message.content["text"]
    return text


def texts(messages: Iterable[AnyMessage]) -> list[str]:
    """Return the texts of stream messages, in order."""
    return [text_of(message) for message in messages]
