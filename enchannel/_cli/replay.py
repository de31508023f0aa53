"""``enchannel replay``."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import enchannel as ec
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.terminal.printer import TextPrinter, as_dict
from enchannel._cli.terminal.screen import Screen

__all__ = ["replay"]

COMMS = ("comm_open", "comm_msg", "comm_close")  # some kernels say these on shell


def replay(arguments: argparse.Namespace, screen: Screen) -> int:
    """Show a recording; the exit code."""
    recording = ec.Recording(arguments.file)
    show = _lines(screen) if arguments.json else Transcript(screen).show
    nothing, begin = threading.Event(), time.monotonic()
    try:
        for recorded in recording:
            wait = begin + recorded.time / arguments.speed - time.monotonic()
            if wait > 0:
                screen.flush()
                nothing.wait(min(wait, threading.TIMEOUT_MAX))
            show(recorded)
            if isinstance(recorded.event, ec.EnchannelError):
                screen.say(str(recorded.event))
    except KeyboardInterrupt:
        screen.finish()
        return ExitCode.INTERRUPTED
    screen.finish()
    if not recording.is_whole:
        screen.say(f"{arguments.file} was not ended, or is damaged: that is all that can be read")
        return ExitCode.RAISED
    return ExitCode.OK


def _lines(screen: Screen) -> Callable[[ec.Recorded], None]:
    def show(recorded: ec.Recorded) -> None:
        if recorded.message is not None:
            line = {
                "time": recorded.time,
                "direction": recorded.direction,
                **as_dict(recorded.message),
            }
            screen.write(json.dumps(line) + "\n")

    return show


@dataclass(slots=True)
class _Cell:
    """One request: it is over when its reply and its idle were heard, in whichever order."""

    printer: TextPrinter
    reply: ec.AnyMessage | None = None
    idle: bool = False


class Transcript:
    """Many requests, each shown as ``run`` shows its one: the reply last."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._cells: dict[str, _Cell] = {}
        self._secret = False

    def show(self, recorded: ec.Recorded) -> None:
        """Show what happened, if it is to be seen."""
        message = recorded.message
        if message is None:
            return
        if message.channel is ec.ChannelName.STDIN:
            self._asked(message)
        elif recorded.direction is ec.Direction.RECEIVED:
            self._heard(message)

    def _heard(self, message: ec.AnyMessage) -> None:
        parent, kind = message.parent_header.msg_id, message.header.msg_type
        if not parent:
            return  # what a kernel says to nobody in particular, as when it starts
        cell = self._cells.setdefault(parent, _Cell(TextPrinter(self._screen)))
        if message.channel is not ec.ChannelName.IOPUB and kind not in COMMS:
            cell.reply = message
        elif kind == "status":
            cell.idle = message.content.get("execution_state") == "idle"
        else:
            cell.printer.message(message)
        if cell.reply is not None and cell.idle:
            cell.printer.message(cell.reply)
            del self._cells[parent]

    def _asked(self, message: ec.AnyMessage) -> None:
        """What was asked, and the answer; that to a password is not shown, also where it was kept."""
        content = message.content
        if message.header.msg_type == "input_request":
            self._secret = bool(content.get("password"))
            self._screen.prompt(self._screen.out, str(content.get("prompt", "")))
        elif message.header.msg_type == "input_reply":
            answer = "" if self._secret else str(content.get("value", ""))
            self._screen.stream(self._screen.out, f"{answer}\n")
