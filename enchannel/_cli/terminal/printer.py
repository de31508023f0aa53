"""Messages of a kernel, as text for people or as JSON for programs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Protocol

import enchannel as ec
from enchannel._cli.terminal.screen import Screen

__all__ = ["JsonPrinter", "Printer", "TextPrinter", "as_dict"]


class Printer(Protocol):
    """Shows the messages of one execution, in order of arrival, the reply last."""

    def message(self, message: ec.AnyMessage) -> None:
        """Show one."""


class JsonPrinter:
    """One line each, whatever it is."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def message(self, message: ec.AnyMessage) -> None:
        """Show one."""
        # In ASCII: no terminal takes it for anything else, and no lone surrogate is in the way.
        self._screen.write(json.dumps(as_dict(message)) + "\n")


class TextPrinter:
    """What a terminal or a pipe can show of it: streams, the text of results and displays, errors."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._clear = False
        self._told_error = False

    def message(self, message: ec.AnyMessage) -> None:
        """Show one."""
        content = message.content
        match message.channel, message.header.msg_type:
            case ec.ChannelName.IOPUB, "stream":
                self._clear_now()
                pane = self._screen.err if content.get("name") == "stderr" else self._screen.out
                self._screen.stream(pane, _text(content.get("text")))
            case ec.ChannelName.IOPUB, ("execute_result" | "display_data" | "update_display_data"):
                self._clear_now()
                self._data(content.get("data"))
            case ec.ChannelName.IOPUB, "clear_output":
                self._clear = True
                if not content.get("wait"):
                    self._clear_now()
            case ec.ChannelName.IOPUB, "error":
                self._error(content)
            case ec.ChannelName.SHELL, "execute_reply":
                self._reply(content)
            case _:
                pass

    def _reply(self, content: Mapping[str, Any]) -> None:
        if content.get("status") == "error" and not self._told_error:
            self._error(content)
        payload = content.get("payload")
        for item in payload if isinstance(payload, list) else ():
            if isinstance(item, dict) and item.get("source") == "page":  # IPython's ``print?``
                self._data(item.get("data"))

    def _error(self, content: Mapping[str, Any]) -> None:
        self._told_error = True
        traceback = content.get("traceback")
        lines = traceback if isinstance(traceback, list) else []
        text = "\n".join(map(_text, lines))
        self._screen.traceback(
            text or f"{_text(content.get('ename'))}: {_text(content.get('evalue'))}"
        )

    def _data(self, data: object) -> None:
        if not isinstance(data, dict) or not data:
            return
        text = _text(data.get("text/plain"))
        if not text:  # at least say that there was something
            text = f"<{', '.join(map(str, data))}>"
        self._screen.line(self._screen.out, text)

    def _clear_now(self) -> None:
        if self._clear:
            self._clear = False
            self._screen.clear_line()


def as_dict(message: ec.AnyMessage) -> dict[str, Any]:
    """A message as JSON has it, its buffers in base64."""
    return {
        "channel": message.channel.value,
        "header": message.header.to_dict(),
        "parent_header": message.parent_header.to_dict(),
        "metadata": message.metadata,
        "content": message.content,
        "buffers": [base64.b64encode(buffer).decode("ascii") for buffer in message.buffers],
    }


def _text(value: object) -> str:
    """Text; some kernels send it in lines, as notebooks have it."""
    if isinstance(value, list):
        return "".join(map(_text, value))
    return value if isinstance(value, str) else ""
