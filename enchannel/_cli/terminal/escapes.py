"""Escape sequences in what a kernel prints: colours may pass, what else moves a terminal may not."""

from __future__ import annotations

import re

__all__ = ["Escapes", "plain"]

# Newline, tab, carriage return and backspace pass. C1 (0x80-0x9f) are sequences in one character.
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_COLOUR = r"\x1b\[[0-9;:]*m"
_CSI = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*"
# Titles, links, the clipboard. A newline ends one too, or it could swallow all that follows.
_STRING = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])"
_PAYLOAD = r"[^\x07\x1b\x9c\x18\x1a\n]*"
_ESCAPE = r"\x1b[ -/]*"

_sequence = re.compile(
    rf"(?P<colour>{_COLOUR})"
    rf"|{_CSI}[@-~]"
    rf"|{_STRING}{_PAYLOAD}(?:\x07|\x1b\\|\x9c|(?=[\x18\x1a\n]|\x1b[^\\]))"
    rf"|(?P<cut>(?:{_CSI}|{_STRING}{_PAYLOAD}\x1b?|{_ESCAPE})\Z)"
    rf"|{_ESCAPE}[0-~]"
    rf"|{_CONTROL.pattern}"
)
_introducer = re.compile(_STRING)
_RESET = re.compile(r"\x1b\[[0;:]*m")
LONGEST = 256  # characters; no colour is as long, and nobody shall make us keep more


def plain(text: str) -> str:
    """A text without any escape sequence or control character but newline, tab, return and backspace."""
    return Escapes(colours=False).feed(text)


class Escapes:
    """Strips a text that comes in pieces; a sequence may be cut anywhere.

    Args:
        colours: Whether colours pass.
    """

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._cut = ""
        self.coloured = False
        """Whether what has passed would colour what follows."""

    def feed(self, text: str) -> str:
        """What of the text may be shown now."""
        if not self._cut and not _CONTROL.search(text):
            return text
        text, self._cut = self._cut + text, ""
        return _sequence.sub(self._passed, text)

    def forget(self) -> None:
        """What follows does not go on where the last piece stopped."""
        self._cut = ""

    def _passed(self, match: re.Match[str]) -> str:
        if (colour := match["colour"]) is not None:
            if not self._colours:
                return ""
            self.coloured = not _RESET.fullmatch(colour)
            return colour
        if cut := match["cut"]:
            self._cut = _shortened(cut)
        return ""


def _shortened(cut: str) -> str:
    """What is enough to know how a sequence goes on."""
    if introducer := _introducer.match(cut):
        return introducer[0] + ("\x1b" if cut[1:].endswith("\x1b") else "")
    return cut if len(cut) <= LONGEST else "\x1b["
