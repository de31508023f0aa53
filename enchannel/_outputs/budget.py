"""A limit on the output that is kept of one request."""

from __future__ import annotations

import json

from enchannel._outputs.output import OUTPUT_TYPES, display_id_of, stream_text_of
from enchannel._outputs.outputs import Outputs
from enchannel._protocol.message import AnyMessage

__all__ = ["OutputBudget"]


class OutputBudget:
    """Adds the messages of one request to outputs until a size limit is reached.

    Args:
        limit: Characters of stream text, and of the JSON of other outputs.

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
        if len(text) <= room:
            self._left -= len(text)
            return outputs.add(message)
        self.exceeded = self._text_was_cut = True
        self._left = 0
        if not room:
            return outputs
        return outputs.add(message.replace(content={**message.content, "text": text[:room]}))

    def _show(self, outputs: Outputs, message: AnyMessage) -> Outputs:
        size = _size(message)
        if size > self._left:
            self.exceeded = True
            return outputs
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


def _size(message: AnyMessage) -> int:
    if message.raw is not None:
        return len(message.raw.content)
    return len(json.dumps(message.content, ensure_ascii=False, separators=(",", ":")))
