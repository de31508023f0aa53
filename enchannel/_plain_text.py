"""Text that was written for a terminal, as plain text. It knows lines, and no screen."""

from __future__ import annotations

import re

__all__ = ["plain_text"]

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

_control = re.compile(rf"[{_CONTROL}]")
_quoted = re.compile(_QUOTED)
_unseen = re.compile(_UNSEEN)
_steps = re.compile(rf"(?P<seen>{_SEEN})|(?P<move>[\r\x08])|(?P<erase>{_ERASE})|{_UNSEEN}")


def plain_text(text: str) -> str:
    """What a terminal shows of a text: no escape sequences, and of a progress bar its last state.

    A carriage return and a backspace go back on their line, to write over it. What moves the cursor
    to another line is left out, as colours are.
    """
    if not _control.search(text):
        return text
    if "\r" not in text and "\b" not in text:
        return _unseen.sub("", text)
    return "\n".join(map(_line, _quoted.sub("", text).split("\n")))


def _line(text: str) -> str:
    if "\r" not in text.removesuffix("\r") and "\b" not in text:
        return _unseen.sub("", text.removesuffix("\r"))
    shown: list[str] = []
    at = 0
    for step in _steps.finditer(text):
        written = step[0]
        match step.lastgroup:
            case "seen":
                shown[at : at + len(written)] = written
                at += len(written)
            case "move":
                at = 0 if written == "\r" else max(at - 1, 0)
            case "erase":
                if written[-2] in "12":
                    shown[:at] = " " * at
                if written[-2] != "1":
                    del shown[at:]
            case _:
                pass
    return "".join(shown)
