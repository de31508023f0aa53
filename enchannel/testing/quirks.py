"""Deviations from the protocol that real kernels show, as faults for ``FakeKernel.inject_faults``.

Each of them was observed in a released kernel, and a client must cope with all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

import enchannel as ec
from enchannel import AnyMessage, Header
from enchannel import messages as build
from enchannel.testing._fake_kernel import Fault, Send

__all__ = ["QUIRKS"]


def _changed(change: Callable[[AnyMessage], AnyMessage | None]) -> Fault:
    def changing(message: AnyMessage, send: Send) -> None:
        changed = change(message)
        if changed is not None:
            send(changed)

    return changing


def _dated(date: str) -> Fault:
    return _changed(lambda m: m.replace(header=replace(m.header, date=date)))


def _without(msg_type: str, *fields: str) -> Fault:
    def shortened(message: AnyMessage) -> AnyMessage:
        if not message.header.msg_type.endswith(msg_type):
            return message
        content = {k: v for k, v in message.content.items() if k not in fields}
        return message.replace(content=content)

    return _changed(shortened)


def _with(msg_type: str, **fields: Any) -> Fault:
    def extended(message: AnyMessage) -> AnyMessage:
        if not message.header.msg_type.endswith(msg_type):
            return message
        return message.replace(content={**message.content, **fields})

    return _changed(extended)


def _reply_of_another_type(message: AnyMessage) -> AnyMessage:
    if not message.header.msg_type.endswith("_reply"):
        return message
    return message.replace(header=replace(message.header, msg_type="complete_reply"))


def _parent_with_an_id_only(message: AnyMessage) -> AnyMessage:
    return message.replace(parent_header=Header(msg_id=message.parent_header.msg_id))


def _result_as_a_stream(message: AnyMessage) -> AnyMessage:
    if message.header.msg_type != "execute_result":
        return message
    text = str(message.content["data"].get("text/plain", ""))
    return build.stream("stdout", text, parent=message.parent_header)


def _stray_comm_close(message: AnyMessage, send: Send) -> None:
    send(message)
    if message.header.msg_type == "execute_reply":
        send(ec.comm_close("of-nobody", channel="shell", parent=message.parent_header))


def _strays_before_everything() -> Fault:
    first = True

    def straying(message: AnyMessage, send: Send) -> None:
        nonlocal first
        if first:
            first = False
            send(build.stream("stderr", "a warning of the kernel's own\n"))
            send(build.status("starting", parent=None))
        send(message)

    return straying


def _unknown_state(message: AnyMessage, send: Send) -> None:
    if message.header.msg_type == "status" and message.content["execution_state"] == "busy":
        send(message.replace(content={"execution_state": "pondering"}))
    send(message)


def _idle_before_the_reply() -> Fault:
    reply: AnyMessage | None = None

    def late(message: AnyMessage, send: Send) -> None:
        nonlocal reply
        if message.header.msg_type.endswith("_reply"):
            reply = message
            return
        send(message)
        if reply is not None and message.content.get("execution_state") == "idle":
            held, reply = reply, None
            send(held)

    return late


def _output_after_idle() -> Fault:
    def late(message: AnyMessage, send: Send) -> None:
        send(message)
        if message.content.get("execution_state") == "idle":
            send(build.stream("stdout", "one more thing\n", parent=message.parent_header))

    return late


QUIRKS: Final[dict[str, Callable[[], Fault]]] = {
    "dates in milliseconds": lambda: _dated("2024-02-29T12:30:00.660Z"),
    "dates with an offset": lambda: _dated("2024-02-29T12:30:00.123456+00:00"),
    "dates without a zone": lambda: _dated("2024-02-29T12:30:00.123456"),
    "no dates": lambda: _dated(""),
    "parents with nothing but an id": lambda: _changed(_parent_with_an_id_only),
    "replies without a status": lambda: _without("_reply", "status"),
    "replies of another type": lambda: _changed(_reply_of_another_type),
    "replies without an execution count": lambda: _without("execute_reply", "execution_count"),
    "errors without a name": lambda: _without("error", "ename", "evalue", "traceback"),
    "a status beyond the protocol": lambda: _with("execute_reply", status="abort"),
    "a state beyond the protocol": lambda: _unknown_state,
    "no execute_input": lambda: _changed(
        lambda m: None if m.header.msg_type == "execute_input" else m
    ),
    "results as streams": lambda: _changed(_result_as_a_stream),
    "inspection without data": lambda: _with("inspect_reply", data=None),
    "a comm closed on shell": lambda: _stray_comm_close,
    "strays before everything": _strays_before_everything,
    "idle before the reply": _idle_before_the_reply,
    "output after idle": _output_after_idle,
}
"""Functions that create the fault, by the name of the quirk."""
