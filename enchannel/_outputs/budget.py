"""A limit on the output that is kept of one request."""

from __future__ import annotations

import json
import re

from enchannel._outputs.output import (
    OUTPUT_TYPES,
    data_of,
    display_id_of,
    error_output,
    stream_text_of,
)
from enchannel._outputs.outputs import Outputs
from enchannel._protocol.message import AnyMessage

__all__ = ["OutputBudget", "validate_max_output"]


def validate_max_output(max_output: int | None) -> None:
    """Raise TypeError or ValueError unless a size is a number of characters or None."""
    if max_output is None:
        return
    # A bool is an int, but not a number of characters.
    if not isinstance(max_output, int) or isinstance(max_output, bool):
        raise TypeError(f"max_output must be a number of characters or None, not {max_output!r}")
    if max_output < 0:
        raise ValueError(f"max_output must be a number of characters or None, not {max_output!r}")


class OutputBudget:
    """Adds the messages of one request to outputs until a size limit is reached.

    Args:
        limit: Characters of streams and errors, without their colour codes, and of the JSON of other
            outputs.

    Attributes:
        exceeded: True if an output was cut or dropped that would otherwise be among the outputs now.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._clear_next = False
        self._start_over()

    def add(self, outputs: Outputs, message: AnyMessage) -> Outputs:
        """Return the outputs after this message, or after as much of it as fits."""
        msg_type = message.header.msg_type
        if msg_type == "clear_output":
            self._clear_next = bool(message.content.get("wait"))
            return outputs if self._clear_next else self._start_over()
        if msg_type == "update_display_data":
            return self._update(outputs, message)
        if msg_type not in OUTPUT_TYPES:
            return outputs
        if self._clear_next:
            self._clear_next = False
            outputs = self._start_over()
        if msg_type == "stream":
            return self._write(outputs, message)
        return self._show(outputs, message)

    def _start_over(self) -> Outputs:
        """Reset the budget, and return empty outputs: a clear also removes dropped outputs."""
        self.exceeded = False
        self._left = self._limit
        self._text_was_cut = False
        self._sizes: dict[str | int | None, int] = {}
        return Outputs()

    def _write(self, outputs: Outputs, message: AnyMessage) -> Outputs:
        # An update may have made room, but text after a cut would have a gap before it.
        if self._text_was_cut:
            return outputs
        text = stream_text_of(message.content)
        room = self._left
        size = _visible_length(text)
        if size <= room:
            self._left -= size
            return outputs.add(message)
        self.exceeded = self._text_was_cut = True
        self._left = 0
        if not room:
            return outputs
        return outputs.add(
            message.replace(content={**message.content, "text": _start_of(text, room)})
        )

    def _show(self, outputs: Outputs, message: AnyMessage) -> Outputs:
        size = _size(message)
        if size > self._left:
            self.exceeded = True
            cut = _cut(message, self._left)
            if cut is None:
                return outputs
            message, size = cut, min(_text_size(cut), self._left)
        self._left -= size
        self._sizes[display_id_of(message.content)] = size
        return outputs.add(message)

    def _update(self, outputs: Outputs, message: AnyMessage) -> Outputs:
        after = outputs.add(message)
        if after is outputs:
            return outputs
        display_id = display_id_of(message.content)
        more = _size(message) - self._sizes[display_id]
        if more > self._left:
            self.exceeded = True
            return outputs
        self._left -= more
        self._sizes[display_id] += more
        return after


_colour = re.compile(r"\x1b\[[0-9;:]*m")
MAX_EVALUE = 1_000  # of a cut error
# Text of nothing but codes must not be unlimited.
MAX_CODES_PER_CHARACTER = 8


def _visible_length(text: str) -> int:
    if "\x1b[" not in text:
        return len(text)
    visible = len(_colour.sub("", text))
    return max(visible, (len(text) - visible) // MAX_CODES_PER_CHARACTER)


def _start_of(text: str, size: int) -> str:
    """Return the start of a text with this number of visible characters."""
    shown = 0
    end = 0
    for code in _colour.finditer(text, 0, size * (MAX_CODES_PER_CHARACTER + 1)):
        if shown + code.start() - end > size:
            break
        shown += code.start() - end
        end = code.end()
    return text[: end + size - shown]


def _cut(message: AnyMessage, size: int) -> AnyMessage | None:
    """Return the end of a traceback or the start of a text; None if there is none."""
    if not size:
        return None
    if message.header.msg_type == "error":
        return message.replace(content=_cut_error(message, size))
    text = data_of(message.content).get("text/plain")
    if not isinstance(text, str):
        return None
    data = {"text/plain": _start_of(text, size)}
    return message.replace(content={**message.content, "data": data, "metadata": {}})


def _text_size(cut: AnyMessage) -> int:
    if cut.header.msg_type == "error":
        return _size(cut)
    return _visible_length(cut.content["data"]["text/plain"])


def _cut_error(message: AnyMessage, size: int) -> dict[str, object]:
    error = error_output(message.content)
    lines: list[str] = []
    for line in reversed("\n".join(error["traceback"]).split("\n")):
        # Of a line that is too long, a part that starts within a code would be unreadable.
        if _visible_length(line) > size:
            if not lines:
                lines.append(_start_of(line, size))
            break
        lines.append(line)
        size -= _visible_length(line)
    return {**message.content, "traceback": lines[::-1], "evalue": error["evalue"][:MAX_EVALUE]}


def _size(message: AnyMessage) -> int:
    if message.header.msg_type == "error":
        error = error_output(message.content)
        # The text of an error repeats its value in the traceback.
        return sum(map(_visible_length, error["traceback"])) or len(error["evalue"])
    if message.raw is not None:
        return len(message.raw.content)
    return len(json.dumps(message.content, ensure_ascii=False, separators=(",", ":")))
