"""``enchannel replay``."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import enchannel as ec
from enchannel._cli.error_text import error_text
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.terminal.printer import TextPrinter
from enchannel._cli.terminal.screen import Screen

__all__ = ["replay"]

# Some kernels send these on shell, where the reply of a request is expected.
COMM_TYPES = ("comm_open", "comm_msg", "comm_close")


def replay(arguments: argparse.Namespace, screen: Screen) -> int:
    """Print a recording; return the exit code."""
    recording = ec.Recording(arguments.file)
    show = _json_printer(screen) if arguments.json else Transcript(screen).show
    never, started_at = threading.Event(), time.monotonic()
    try:
        for recorded in recording:
            delay = started_at + recorded.time / arguments.speed - time.monotonic()
            if delay > 0:
                screen.flush()
                never.wait(min(delay, threading.TIMEOUT_MAX))
            if isinstance(recorded, ec.RecordedMessage):
                show(recorded)
            elif isinstance(recorded.event, ec.EnchannelError):
                screen.print_message(error_text(recorded.event))
    except KeyboardInterrupt:
        screen.finish()
        return ExitCode.INTERRUPTED
    screen.finish()
    if not recording.verify():
        screen.print_message(f"{arguments.file} is incomplete or damaged: the rest cannot be read")
        return ExitCode.RAISED
    return ExitCode.OK


def _json_printer(screen: Screen) -> Callable[[ec.RecordedMessage], None]:
    def show(recorded: ec.RecordedMessage) -> None:
        line = {
            "time": recorded.time,
            "direction": recorded.direction,
            **recorded.message.to_dict(),
        }
        screen.write(json.dumps(line) + "\n")

    return show


@dataclass(slots=True)
class _Request:
    """A request, which ends after its reply and its idle status, in either order."""

    printer: TextPrinter
    reply: ec.AnyMessage | None = None
    is_idle: bool = False


class Transcript:
    """Prints the requests of a recording, each as ``enchannel run`` does: the reply last."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._requests: dict[str, _Request] = {}
        self._is_password = False

    def show(self, recorded: ec.RecordedMessage) -> None:
        """Print a recorded message, if ``enchannel run`` would print it."""
        message = recorded.message
        if message.channel is ec.ChannelName.STDIN:
            self._show_input(message)
        elif recorded.direction is ec.Direction.RECEIVED:
            self._show_received(message)

    def _show_received(self, message: ec.AnyMessage) -> None:
        parent, msg_type = message.parent_header.msg_id, message.header.msg_type
        if not parent:
            # Not an answer to a request, such as the status when the kernel starts.
            return
        request = self._requests.setdefault(parent, _Request(TextPrinter(self._screen)))
        if message.channel is not ec.ChannelName.IOPUB and msg_type not in COMM_TYPES:
            request.reply = message
        elif msg_type == "status":
            request.is_idle = message.content.get("execution_state") == "idle"
        else:
            request.printer.print(message)
        if request.reply is not None and request.is_idle:
            request.printer.print(request.reply)
            del self._requests[parent]

    def _show_input(self, message: ec.AnyMessage) -> None:
        """Print a prompt or its answer; a password is not printed, even if it was recorded."""
        content = message.content
        if message.header.msg_type == "input_request":
            self._is_password = bool(content.get("password"))
            self._screen.write_prompt(self._screen.out, str(content.get("prompt", "")))
        elif message.header.msg_type == "input_reply":
            answer = "" if self._is_password else str(content.get("value", ""))
            self._screen.write_stream(self._screen.out, f"{answer}\n")
