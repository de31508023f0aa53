"""Rendering of text as a terminal shows it: line by line, without a screen."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Settled", "plain_text", "settled"]

# All control characters but the tab and the newline.
_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_STRING = r"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles, links, images
_INVISIBLE = (
    # Colours and cursor movements, also a truncated one.
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*(?:[@-~]|\Z)"
    rf"|{_STRING}"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]"
)
_VISIBLE = rf"[^{_CONTROL}]+"
_ERASE = r"\x1b\[[012]?K"
_COLOUR = r"\x1b\[[0-9;:]*m"
_CUT = r"\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\n]*\x1b?)\Z"
_RESET = "\x1b[0m"
# Codes that add up, such as bold and red; older ones are dropped.
MAX_COLOUR_CODES = 16

_control = re.compile(rf"[{_CONTROL}]")
_string = re.compile(_STRING)
_invisible = re.compile(_INVISIBLE)
_steps = re.compile(
    rf"(?P<visible>{_VISIBLE})|(?P<move>[\r\x08])|(?P<erase>{_ERASE})|(?P<colour>{_COLOUR})|{_INVISIBLE}"
)
_colour = re.compile(_COLOUR)
_cut = re.compile(_CUT)
_overwriting = re.compile(r"\x08|\r(?!\Z)|\x1b\[[12]K")


def plain_text(text: str) -> str:
    """Return a text as a terminal shows it: without escape sequences, progress bars in their last state.

    Carriage returns and backspaces overwrite text of their line. Cursor movements to other lines are
    removed, like colours.
    """
    if not _control.search(text):
        return text
    if not _may_overwrite(text):
        return _invisible.sub("", text)
    lines = _string.sub("", text).split("\n")
    return "\n".join(
        "".join(_render(line).shown) if _overwrites(line) else _strip_invisible(line)
        for line in lines
    )


class Settled(NamedTuple):
    """A text without overwritten characters.

    Attributes:
        shown: The visible text, with its colour codes.
        rest: Control characters that restore the cursor and the colour; ``settled`` continues from
            ``shown + rest``.
    """

    shown: str
    rest: str

    def __str__(self) -> str:
        return self.shown + self.rest


def settled(text: str) -> Settled:
    """Apply carriage returns and backspaces as a terminal does, and keep all other text.

    On lines with overwritten text, colours are kept and other escape sequences are removed.
    """
    if not _may_overwrite(text):
        return Settled(text, "")
    cut = _cut.search(text)
    text, rest = (text[: cut.start()], cut[0]) if cut else (text, "")
    shown: list[str] = []
    colour = ""
    *lines, last = text.split("\n")
    for line in lines:
        if _overwrites(line):
            written = _render(line, colour)
            shown += (written.coloured(colour), "\n")
            colour = written.colour
        else:
            shown += (line.removesuffix("\r"), "\n")
            colour = _colour_after(colour, line)
    if not _overwrites(last):
        here = last.removesuffix("\r")
        return Settled("".join([*shown, here]), f"{last[len(here) :]}{rest}")
    written = _render(last, colour)
    shown.append(written.coloured(colour))
    if written.at < len(written.shown):
        rest = f"\r{written.before_cursor().coloured(written.colour)}{rest}"
    return Settled("".join(shown), rest)


class _Line(NamedTuple):
    """A line with overwritten text.

    Attributes:
        shown: The characters.
        colours: The colour of each character.
        at: The position of the cursor.
        colour: The colour in which the next character is written.
    """

    shown: list[str]
    colours: list[str]
    at: int
    colour: str

    def coloured(self, before: str) -> str:
        """Return the line with colour codes, starting from the colour ``before``."""
        parts: list[str] = []
        for character, colour in zip(self.shown, self.colours, strict=True):
            if colour != before:
                parts.append(_colour_change(before, colour))
                before = colour
            parts.append(character)
        if before != self.colour:
            parts.append(_colour_change(before, self.colour))
        return "".join(parts)

    def before_cursor(self) -> _Line:
        """Return the part of the line before the cursor."""
        return self._replace(shown=self.shown[: self.at], colours=self.colours[: self.at])


def _render(text: str, colour: str = "") -> _Line:
    shown: list[str] = []
    colours: list[str] = []
    at = 0
    # The part that is erased already, so that no character is erased twice.
    erased_to, erased_in = 0, colour
    for step in _steps.finditer(text):
        written = step[0]
        match step.lastgroup:
            case "visible":
                erased_to = min(erased_to, at)
                shown[at : at + len(written)] = written
                colours[at : at + len(written)] = [colour] * len(written)
                at += len(written)
            case "move":
                at = 0 if written == "\r" else max(at - 1, 0)
            case "erase":
                if written[-2] in "12":
                    start = min(erased_to, at) if colour == erased_in else 0
                    shown[start:at] = " " * (at - start)
                    colours[start:at] = [colour] * (at - start)
                    erased_to, erased_in = max(at, start), colour
                if written[-2] != "1":
                    del shown[at:], colours[at:]
                    erased_to = min(erased_to, at)
            case "colour":
                colour = _colour_after(colour, written)
            case _:
                pass
    return _Line(shown, colours, at, colour)


def _may_overwrite(text: str) -> bool:
    """Return True if text may be overwritten; fast, and sometimes wrongly True."""
    return "\r" in text or "\b" in text or "\x1b[2K" in text or "\x1b[1K" in text


def _overwrites(line: str) -> bool:
    """Return True if text of a line is overwritten. A carriage return at its end does not count yet."""
    return _overwriting.search(line) is not None


def _strip_invisible(line: str) -> str:
    return _invisible.sub("", line.removesuffix("\r"))


def _colour_after(colour: str, text: str) -> str:
    """Return the colour after a text that starts in ``colour``."""
    if "\x1b" not in text:
        return colour
    for code in _colour.findall(text):
        match code[2:-1].replace(":", ";").partition(";")[0]:
            case "" | "0" | "00":
                colour = "" if code[2:-1] in ("", "0", "00") else code
            case _:
                colour += code
    codes: list[str] = _colour.findall(colour)
    return "".join(codes[-MAX_COLOUR_CODES:])


def _colour_change(before: str, after: str) -> str:
    """Return the codes that change one colour to another."""
    return after.removeprefix(before) if after.startswith(before) else f"{_RESET}{after}"
