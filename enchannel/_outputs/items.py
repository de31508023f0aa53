"""The parts of ``Outputs`` that are not final: streams that grow, and displays that can be updated."""

from __future__ import annotations

from collections.abc import Mapping
from operator import add
from typing import Any

from enchannel._outputs.chunks import Chunks, append, in_order
from enchannel._outputs.output import (
    DisplayKey,
    data_of,
    display_output,
    metadata_of,
    stream_output,
)
from enchannel._outputs.terminal import settled
from enchannel.frozen import FrozenDict

__all__ = ["DisplayContent", "DisplaySlot", "StreamText"]

MIN_SETTLE_CHARACTERS = 4_096


class StreamText:
    """The text of one stream output, joined when it is read.

    In terminal mode, overwritten text is dropped when the output is read, and whenever it may be as long
    as the rest. The text therefore takes at most twice the memory, and appending costs the same however
    the text is split.

    Args:
        name: ``"stdout"`` or ``"stderr"``.
        text: The text so far, in terminal mode without its overwritten parts.
        settled: The number of characters that are not overwritten; None keeps all text.
    """

    __slots__ = ("_output", "_settled", "name", "text")

    def __init__(self, name: str, text: Chunks[str], settled: int | None) -> None:
        self.name = name
        self.text = text
        self._settled = settled
        self._output: FrozenDict | None = None

    def extended(self, text: str) -> StreamText:
        """Return a stream with more text at the end."""
        chunks = append(self.text, text, add)
        if self._settled is None or _length(chunks) <= 2 * self._settled + MIN_SETTLE_CHARACTERS:
            return StreamText(self.name, chunks, self._settled)
        now = str(settled("".join(in_order(chunks))))
        return StreamText(self.name, Chunks(None, now), len(now))

    def output_among(self, displays: object) -> FrozenDict:
        """Return the output; a stream does not depend on the displays."""
        if self._output is None:
            text = "".join(in_order(self.text))
            kept = shown = text
            if self._settled is not None:
                shown, rest = settled(text)
                kept = shown + rest
                self._settled = len(kept)
            # One chunk in place of many, so that the text is in memory once.
            self.text = Chunks(None, kept)
            self._output = stream_output(self.name, shown)
        return self._output


class DisplaySlot:
    """The position of an updatable display among the outputs."""

    __slots__ = ("_count", "_output_type", "id")

    def __init__(self, id: DisplayKey, output_type: str, count: int | None) -> None:
        self.id = id
        self._output_type = output_type
        self._count = count

    def output_among(self, displays: Mapping[DisplayKey, DisplayContent]) -> FrozenDict:
        """Return the output with the current content of the display."""
        return displays[self.id].output(self._output_type, self._count)


class DisplayContent:
    """The current content of a display id; its outputs stay the same objects until it is updated."""

    __slots__ = ("_data", "_metadata", "_outputs")

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._data = data_of(content)
        self._metadata = metadata_of(content)
        self._outputs: dict[tuple[str, int | None], FrozenDict] = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DisplayContent):
            return NotImplemented
        return self._data == other._data and self._metadata == other._metadata

    __hash__ = None  # type: ignore[assignment]  # dicts are not hashable

    def output(self, output_type: str, count: int | None) -> FrozenDict:
        """Return the content as an output of this type."""
        slot = (output_type, count)
        output = self._outputs.get(slot)
        if output is None:
            output = display_output(output_type, self._data, self._metadata, count)
            self._outputs[slot] = output
        return output


def _length(chunks: Chunks[str]) -> int:
    return sum(map(len, in_order(chunks)))
