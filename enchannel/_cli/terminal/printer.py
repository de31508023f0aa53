"""Kernel messages, as text for people or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import enchannel as ec
from enchannel._cli.terminal.screen import Screen

__all__ = ["JsonPrinter", "Printer", "TextPrinter"]


class Printer(Protocol):
    """Prints the messages of one execution in order of arrival; the reply comes last."""

    def print(self, message: ec.AnyMessage) -> None:
        """Print one message."""


class JsonPrinter:
    """Prints every message as one line of JSON."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def print(self, message: ec.AnyMessage) -> None:
        """Print one message."""
        # ASCII is not mistaken for escape sequences, and has no lone surrogates, which cannot be encoded.
        self._screen.write(json.dumps(message.to_dict()) + "\n")


class TextPrinter:
    """Prints streams, the text of results and displays, and tracebacks."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._clear_pending = False
        self._error_printed = False

    def print(self, message: ec.AnyMessage) -> None:
        """Print one message."""
        content = message.content
        match message.channel, message.header.msg_type:
            case ec.ChannelName.IOPUB, "stream":
                self._clear()
                pane = self._screen.err if content.get("name") == "stderr" else self._screen.out
                self._screen.write_stream(pane, _text(content.get("text")))
            case ec.ChannelName.IOPUB, ("execute_result" | "display_data" | "update_display_data"):
                self._clear()
                self._print_data(content.get("data"))
            case ec.ChannelName.IOPUB, "clear_output":
                self._clear_pending = True
                if not content.get("wait"):
                    self._clear()
            case ec.ChannelName.IOPUB, "error":
                self._print_error(content)
            case ec.ChannelName.SHELL, "execute_reply":
                self._print_reply(content)
            case _:
                pass

    def _print_reply(self, content: Mapping[str, Any]) -> None:
        if content.get("status") == "error" and not self._error_printed:
            self._print_error(content)
        payload = content.get("payload")
        for item in payload if isinstance(payload, list) else ():
            if not isinstance(item, dict):
                continue
            match item.get("source"):
                case "page":  # IPython's ``print?``
                    self._print_data(item.get("data"))
                case "set_next_input":  # IPython's ``%load``
                    self._screen.write_block(self._screen.out, _text(item.get("text")))
                case _:
                    pass

    def _print_error(self, content: Mapping[str, Any]) -> None:
        self._error_printed = True
        traceback = content.get("traceback")
        lines = traceback if isinstance(traceback, list) else []
        text = "\n".join(map(_text, lines))
        self._screen.write_traceback(
            text or f"{_text(content.get('ename'))}: {_text(content.get('evalue'))}"
        )

    def _print_data(self, data: object) -> None:
        if not isinstance(data, dict) or not data:
            return
        # Without a text, the MIME types show that there is an output.
        text = _text(data.get("text/plain")) or f"<{', '.join(map(str, data))}>"
        self._screen.write_block(self._screen.out, text)

    def _clear(self) -> None:
        """Erase the current line, if the kernel has cleared the output."""
        if self._clear_pending:
            self._clear_pending = False
            self._screen.erase_line()


def _text(value: object) -> str:
    """Return a text as one string; some kernels send a list of lines, as in notebook files."""
    if isinstance(value, list):
        return "".join(map(_text, value))
    return value if isinstance(value, str) else ""
