"""A filter for escape sequences in kernel output: colours pass, other terminal control does not."""

from __future__ import annotations

import re

__all__ = ["MAX_SEQUENCE_LENGTH", "Escapes", "strip_escapes"]

# Newline, tab, carriage return and backspace pass. C1 controls (0x80-0x9f) are sequences of one character.
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_COLOUR = r"\x1b\[[0-9;:]*m"
_CSI = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*"
# Titles, links, the clipboard. A newline also ends one, or the rest of the output could disappear.
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
# Longer than any colour; bounds the memory that an unfinished sequence takes.
MAX_SEQUENCE_LENGTH = 256


def strip_escapes(text: str) -> str:
    """Remove all escape sequences and control characters but newline, tab, return and backspace."""
    return Escapes(colours=False).feed(text)


class Escapes:
    """Filters a text that arrives in pieces; a sequence may be cut anywhere.

    Args:
        colours: True lets colours pass.

    Attributes:
        is_coloured: True if the text that has passed would colour the text after it.
    """

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._cut = ""
        self.is_coloured = False

    def feed(self, text: str) -> str:
        """Return the part of a text that can be shown now."""
        if not self._cut and not _CONTROL.search(text):
            return text
        text, self._cut = self._cut + text, ""
        return _sequence.sub(self._filtered, text)

    def reset(self) -> None:
        """Discard an unfinished sequence: the next piece does not continue the last."""
        self._cut = ""

    def _filtered(self, match: re.Match[str]) -> str:
        if (colour := match["colour"]) is not None:
            if not self._colours:
                return ""
            self.is_coloured = not _RESET.fullmatch(colour)
            return colour
        if cut := match["cut"]:
            self._cut = _shortened(cut)
        return ""


def _shortened(cut: str) -> str:
    """Return the part of an unfinished sequence that decides how it continues."""
    if introducer := _introducer.match(cut):
        return introducer[0] + ("\x1b" if cut[1:].endswith("\x1b") else "")
    return cut if len(cut) <= MAX_SEQUENCE_LENGTH else "\x1b["
