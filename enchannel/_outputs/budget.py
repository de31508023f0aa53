"""How much output is kept of a request that may print without end."""

from __future__ import annotations

import json

from enchannel._outputs.output import OUTPUT_TYPES, display_id_of, stream_text_of
from enchannel._outputs.outputs import Outputs
from enchannel._protocol.message import AnyMessage

__all__ = ["OutputBudget"]


class OutputBudget:
    """Adds messages to outputs as far as there is room; it follows one request, from its start.

    Attributes:
        exceeded: Something that would now be among the outputs did not fit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._clear_next = False
        self._start_over()

    def add(self, outputs: Outputs, message: AnyMessage) -> Outputs:
        """The outputs after this message, or after what of it there is room for."""
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
        """What was kept is cleared, and what was dropped would be."""
        self.exceeded = False
        self._left = self._most
        self._text_was_cut = False
        self._sizes: dict[str | int | None, int] = {}
        return Outputs()

    def _write(self, outputs: Outputs, message: AnyMessage) -> Outputs:
        if self._text_was_cut:  # an update may have made room, but not for text with a hole in it
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
