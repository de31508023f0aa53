"""Text that was written for a terminal, as one shows it. It knows lines, and no screen."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Settled", "plain_text", "settled"]

_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # without the tab and the newline
_QUOTED = r"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links, images
_UNSEEN = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*(?:[@-~]|\Z)"  # colours, the cursor; also one that was cut off
    rf"|{_QUOTED}"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]"
)
_SEEN = rf"[^{_CONTROL}]+"
_ERASE = r"\x1b\[[012]?K"
_COLOUR = r"\x1b\[[0-9;:]*m"
_CUT = r"\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\n]*\x1b?)\Z"
_RESET = "\x1b[0m"
_COLOURS = 16  # that are kept of those that add up

_control = re.compile(rf"[{_CONTROL}]")
_quoted = re.compile(_QUOTED)
_unseen = re.compile(_UNSEEN)
_steps = re.compile(
    rf"(?P<seen>{_SEEN})|(?P<move>[\r\x08])|(?P<erase>{_ERASE})|(?P<colour>{_COLOUR})|{_UNSEEN}"
)
_colour = re.compile(_COLOUR)
_cut = re.compile(_CUT)
_moving = re.compile(r"\x08|\r(?!\Z)|\x1b\[[12]K")


def plain_text(text: str) -> str:
    """What a terminal shows of a text: no escape sequences, and of a progress bar its last state.

    A carriage return and a backspace go back on their line, to write over it. What moves the cursor
    to another line is left out, as colours are.
    """
    if not _control.search(text):
        return text
    if not _goes_back(text):
        return _unseen.sub("", text)
    lines = _quoted.sub("", text).split("\n")
    return "\n".join(
        "".join(_written(line).shown) if _moves(line) else _plain(line) for line in lines
    )


class Settled(NamedTuple):
    """A text in which nothing is written over any more.

    Attributes:
        shown: What a terminal shows, in its colours.
        rest: Where the cursor is, and in which colour: more text is to be settled after both.
    """

    shown: str
    rest: str

    def __str__(self) -> str:
        return self.shown + self.rest


def settled(text: str) -> Settled:
    """What a terminal makes of carriage returns and backspaces; all else stays as it is written.

    On the lines where it goes back, of what is not seen only colours are kept.
    """
    if not _goes_back(text):
        return Settled(text, "")
    cut = _cut.search(text)
    text, rest = (text[: cut.start()], cut[0]) if cut else (text, "")
    shown: list[str] = []
    colour = ""
    *lines, last = text.split("\n")
    for line in lines:
        if _moves(line):
            written = _written(line, colour)
            shown += (written.coloured(colour), "\n")
            colour = written.colour
        else:
            shown += (line.removesuffix("\r"), "\n")
            colour = _after(colour, line)
    if not _moves(last):
        here = last.removesuffix("\r")
        return Settled("".join([*shown, here]), f"{last[len(here) :]}{rest}")
    written = _written(last, colour)
    shown.append(written.coloured(colour))
    if written.at < len(written.shown):
        rest = f"\r{written.upto().coloured(written.colour)}{rest}"
    return Settled("".join(shown), rest)


class _Written(NamedTuple):
    """A line on which something was written over.

    Attributes:
        shown: Characters.
        colours: Of each.
        at: Where the cursor is.
        colour: In which it writes.
    """

    shown: list[str]
    colours: list[str]
    at: int
    colour: str

    def coloured(self, before: str) -> str:
        """It as a text, where another colour was before."""
        parts: list[str] = []
        for character, colour in zip(self.shown, self.colours, strict=True):
            if colour != before:
                parts.append(_change(before, colour))
                before = colour
            parts.append(character)
        if before != self.colour:
            parts.append(_change(before, self.colour))
        return "".join(parts)

    def upto(self) -> _Written:
        """What is before the cursor."""
        return self._replace(shown=self.shown[: self.at], colours=self.colours[: self.at])


def _written(text: str, colour: str = "") -> _Written:
    shown: list[str] = []
    colours: list[str] = []
    at = 0
    for step in _steps.finditer(text):
        written = step[0]
        match step.lastgroup:
            case "seen":
                shown[at : at + len(written)] = written
                colours[at : at + len(written)] = [colour] * len(written)
                at += len(written)
            case "move":
                at = 0 if written == "\r" else max(at - 1, 0)
            case "erase":
                if written[-2] in "12":
                    shown[:at] = " " * at
                    colours[:at] = [colour] * at
                if written[-2] != "1":
                    del shown[at:], colours[at:]
            case "colour":
                colour = _after(colour, written)
            case _:
                pass
    return _Written(shown, colours, at, colour)


def _goes_back(text: str) -> bool:
    """Whether anything in a text may be written over; quick."""
    return "\r" in text or "\b" in text or "\x1b[2K" in text or "\x1b[1K" in text


def _moves(line: str) -> bool:
    """Whether anything on a line is written over. At its end it may be that something will be."""
    return _moving.search(line) is not None


def _plain(line: str) -> str:
    return _unseen.sub("", line.removesuffix("\r"))


def _after(colour: str, text: str) -> str:
    """The colour after a text."""
    if "\x1b" not in text:
        return colour
    for code in _colour.findall(text):
        match code[2:-1].replace(":", ";").partition(";")[0]:
            case "" | "0" | "00":
                colour = "" if code[2:-1] in ("", "0", "00") else code
            case _:
                colour += code
    codes: list[str] = _colour.findall(colour)
    return "".join(codes[-_COLOURS:])


def _change(before: str, after: str) -> str:
    """What makes a colour of another."""
    return after.removeprefix(before) if after.startswith(before) else f"{_RESET}{after}"
