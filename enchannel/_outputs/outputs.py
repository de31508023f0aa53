"""From messages to the outputs of a notebook's cell: the one reducer, pure. No Rx here.

The rules are those of nbclient and JupyterLab, which do the same to lists that they change:

- Consecutive streams of one name are one output (JupyterLab; nbclient, if it is told to).
- A result can be updated by its ``display_id`` like a display (nbclient).
- Another display with the same ``display_id`` updates the first as well (both).
- An update is no new output: a ``clear_output`` that waits goes on waiting (both).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import add, or_
from typing import Any, ClassVar, TypeAlias, cast, overload

from enchannel._outputs.chunks import Chunks, add_to, pieces
from enchannel._outputs.output import (
    DisplayId,
    Output,
    data_of,
    display_id_of,
    display_output,
    error_output,
    execution_count_of,
    in_short,
    metadata_of,
    stream_name_of,
    stream_output,
    stream_text_of,
    text_of,
)
from enchannel._outputs.terminal import settled
from enchannel._protocol.message import AnyMessage
from enchannel.frozen import FrozenDict, freeze

__all__ = ["Outputs"]

_FEW = 6  # outputs in a repr
_UNSETTLED = 4_096  # characters that may be written over before that is looked at


class Outputs(Sequence[Output]):
    """The outputs of a notebook's cell: what the messages so far come to. It never changes.

    ``add`` gives the outputs after one more message. It costs the same however many there were,
    and what was there stays as it was: the text of a stream is put together when it is read.
    What a strange kernel leaves out is empty; nothing that it says makes ``add`` raise.

    Args:
        terminal: Make of carriage returns and backspaces in streams what a terminal makes of them, as
            JupyterLab does: of a progress bar only the last state is kept, in its colours. The
            default keeps all that was written.

    Equal to any list, tuple or ``Outputs`` of equal outputs. ``list(outputs)`` is what nbformat
    takes as the ``outputs`` of a cell; ``copy.deepcopy(list(outputs))`` can also be changed.

    Example:
        >>> hello = ec.Outputs().add(build.stream("stdout", "Hello "))
        >>> hello.add(build.stream("stdout", "World"))
        Outputs(stream 'Hello World')
        >>> hello.text
        'Hello '
    """

    __slots__ = ("_clear_next", "_closed", "_displays", "_growing", "_read", "_terminal", "_text")

    def __init__(self, *, terminal: bool = False) -> None:
        self._terminal = terminal
        # The stream at the end may grow, and is not yet among the others.
        self._closed: Chunks[tuple[_Item, ...]] | None = None
        self._growing: _Stream | None = None
        self._displays: Chunks[dict[DisplayId, _Shown]] | None = None
        self._clear_next = False
        self._read: tuple[Output, ...] | None = None
        self._text: str | None = None

    @classmethod
    def from_nbformat(
        cls, outputs: Iterable[Mapping[str, Any]], *, terminal: bool = False
    ) -> Outputs:
        """What a notebook has as the outputs of a cell. They are copied and frozen, but what is already.

        Raises:
            InvalidMessage: there is something in them that JSON has no word for.
        """
        items = tuple(
            output if isinstance(output, FrozenDict) else freeze(output, "an output")
            for output in outputs
        )
        made = cls(terminal=terminal)
        made._closed = Chunks(None, items) if items else None
        return made

    def add(self, message: AnyMessage) -> Outputs:
        """The outputs after this message; these same ones, if it says nothing about them."""
        content = message.content
        match message.header.msg_type:
            case "stream":
                return self._with_stream(stream_name_of(content), stream_text_of(content))
            case "display_data" | "execute_result" as output_type:
                return self._with_display(output_type, content)
            case "update_display_data":
                return self._with_update(content)
            case "error":
                return self._with_item(error_output(content))
            case "clear_output":
                return self._cleared(wait=bool(content.get("wait")))
            case _:
                return self

    def update(self, message: AnyMessage) -> Outputs:
        """The outputs after a message to another cell: what it shows is shown here as well, wherever its
        ``display_id`` already stands. These same ones, if that is nowhere."""
        if message.header.msg_type in ("display_data", "execute_result", "update_display_data"):
            return self._with_update(message.content)
        return self

    @property
    def display_ids(self) -> frozenset[str | int]:
        """What can be updated."""
        return frozenset(chain.from_iterable(pieces(self._displays)))

    @property
    def text(self) -> str:
        """All of it as plain text, as a terminal would show it.

        Streams, the ``text/plain`` of displays and results, and tracebacks, each on its own lines;
        no escape sequences, and of a progress bar the last state.
        """
        if self._text is None:
            self._text = _on_own_lines(map(text_of, self))
        return self._text

    def is_unchanged_from(self, other: Outputs) -> bool:
        """Whether no part was exchanged; cheap, where ``==`` compares all of it."""
        return (
            self._growing is other._growing
            and self._closed is other._closed
            and self._displays is other._displays
        )

    def __len__(self) -> int:
        return sum(map(len, pieces(self._closed))) + (self._growing is not None)

    @overload
    def __getitem__(self, index: int) -> Output: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Output, ...]: ...
    def __getitem__(self, index: int | slice) -> Output | tuple[Output, ...]:
        if index == -1 and self._read is None:  # asked for by whoever shows output as it comes
            return self._last()
        return self._all()[index]

    def __iter__(self) -> Iterator[Output]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Outputs):
            return self.is_unchanged_from(other) or self._all() == other._all()
        if isinstance(other, (list, tuple)):
            return self._all() == tuple(other)
        return NotImplemented

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # what is in it has none

    def __copy__(self) -> Outputs:
        return self

    def __deepcopy__(self, memo: object) -> Outputs:
        return self

    def __repr__(self) -> str:
        few = ", ".join(map(in_short, self[:_FEW]))
        more = f", and {len(self) - _FEW} more" if len(self) > _FEW else ""
        return f"Outputs({few}{more})"

    def _with_stream(self, name: str, text: str) -> Outputs:
        before = self._ready()
        growing = before._growing
        if growing is None or growing.name != name:
            begun = _Stream(name, Chunks(None, text), 0 if self._terminal else None)
            return before._changed(before._all_closed(), begun, before._displays)
        if not text:
            return before
        return before._changed(before._closed, growing.longer(text), before._displays)

    def _with_display(self, output_type: str, content: Mapping[str, Any]) -> Outputs:
        shown, count = _Shown(content), execution_count_of(content)
        display_id = display_id_of(content)
        if display_id is None:
            return self._with_item(shown.output(output_type, count))
        after = self._with_item(_Display(display_id, output_type, count))
        after._displays = add_to(after._displays, {display_id: shown}, or_)
        return after

    def _with_update(self, content: Mapping[str, Any]) -> Outputs:
        display_id = display_id_of(content)
        if display_id is None:
            return self
        before, shown = _by_id(self._displays).get(display_id), _Shown(content)
        if before is None or before == shown:
            return self
        displays = add_to(self._displays, {display_id: shown}, or_)
        return self._changed(self._closed, self._growing, displays, clear_next=self._clear_next)

    def _with_item(self, item: _Item) -> Outputs:
        before = self._ready()
        return before._changed(add_to(before._all_closed(), (item,), add), None, before._displays)

    def _cleared(self, *, wait: bool) -> Outputs:
        if (wait and self._clear_next) or not (self._closed or self._growing):
            return self
        if not wait:
            return _NOTHING[self._terminal]
        return self._changed(self._closed, self._growing, self._displays, clear_next=True)

    def _ready(self) -> Outputs:
        """What another output is added to."""
        return _NOTHING[self._terminal] if self._clear_next else self

    def _changed(
        self,
        closed: Chunks[tuple[_Item, ...]] | None,
        growing: _Stream | None,
        displays: Chunks[dict[DisplayId, _Shown]] | None,
        *,
        clear_next: bool = False,
    ) -> Outputs:
        outputs = Outputs(terminal=self._terminal)
        outputs._closed = closed
        outputs._growing = growing
        outputs._displays = displays
        outputs._clear_next = clear_next
        return outputs

    def _all_closed(self) -> Chunks[tuple[_Item, ...]] | None:
        if self._growing is None:
            return self._closed
        return add_to(self._closed, (self._growing,), add)

    def _all(self) -> tuple[Output, ...]:
        if self._read is None:
            displays: dict[DisplayId, _Shown] = {}
            for some in pieces(self._displays):
                displays |= some
            items = chain.from_iterable(pieces(self._all_closed()))
            outputs = [i if isinstance(i, FrozenDict) else i.output_among(displays) for i in items]
            self._read = cast("tuple[Output, ...]", tuple(outputs))
        return self._read

    def _last(self) -> Output:
        item: _Item
        if self._growing is not None:
            item = self._growing
        elif self._closed is not None:
            item = self._closed.piece[-1]
        else:
            raise IndexError("there are no outputs")
        if not isinstance(item, FrozenDict):
            item = item.output_among(_by_id(self._displays))
        return cast("Output", item)


class _Stream:
    """A stream's output, put together when it is read.

    Where it is kept as a terminal shows it, what is written over is dropped when it is read, and whenever
    there may be as much of that as of the rest: so it takes no more than twice the room, and costs the
    same however it is written.

    Args:
        name: The stream's.
        text: All that was written, or what is left of it.
        settled: How many characters of it are not written over; None: everything is kept.
    """

    __slots__ = ("_output", "_settled", "name", "text")

    def __init__(self, name: str, text: Chunks[str], settled: int | None) -> None:
        self.name = name
        self.text = text
        self._settled = settled
        self._output: FrozenDict | None = None

    def longer(self, text: str) -> _Stream:
        """It with more text at its end."""
        pile = add_to(self.text, text, add)
        if self._settled is None or _length(pile) <= 2 * self._settled + _UNSETTLED:
            return _Stream(self.name, pile, self._settled)
        now = str(settled("".join(pieces(pile))))
        return _Stream(self.name, Chunks(None, now), len(now))

    def output_among(self, displays: object) -> FrozenDict:
        if self._output is None:
            text = "".join(pieces(self.text))
            kept = shown = text
            if self._settled is not None:
                shown, rest = settled(text)
                kept = shown + rest
                self._settled = len(kept)
            self.text = Chunks(None, kept)  # the same text, kept once
            self._output = stream_output(self.name, shown)
        return self._output


class _Display:
    """The place of a display that can be updated."""

    __slots__ = ("_count", "_output_type", "id")

    def __init__(self, id: DisplayId, output_type: str, count: int | None) -> None:
        self.id = id
        self._output_type = output_type
        self._count = count

    def output_among(self, displays: Mapping[DisplayId, _Shown]) -> FrozenDict:
        return displays[self.id].output(self._output_type, self._count)


class _Shown:
    """What is shown under an id. While it is, the outputs in its places stay the same objects."""

    __slots__ = ("_data", "_metadata", "_outputs")

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._data = data_of(content)
        self._metadata = metadata_of(content)
        self._outputs: dict[tuple[str, int | None], FrozenDict] = {}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Shown):
            return NotImplemented
        return self._data == other._data and self._metadata == other._metadata

    __hash__ = None  # type: ignore[assignment]  # what is in it has none

    def output(self, output_type: str, count: int | None) -> FrozenDict:
        place = (output_type, count)
        output = self._outputs.get(place)
        if output is None:
            output = display_output(output_type, self._data, self._metadata, count)
            self._outputs[place] = output
        return output


_Item: TypeAlias = FrozenDict | _Stream | _Display
_NOTHING = (Outputs(), Outputs(terminal=True))


def _by_id(displays: Chunks[dict[DisplayId, _Shown]] | None) -> Mapping[DisplayId, _Shown]:
    return ChainMap(*reversed(pieces(displays)))


def _length(pile: Chunks[str]) -> int:
    return sum(map(len, pieces(pile)))


def _on_own_lines(texts: Iterable[str]) -> str:
    parts: list[str] = []
    for text in filter(None, texts):
        if parts and not parts[-1].endswith("\n"):
            parts.append("\n")
        parts.append(text)
    return "".join(parts)
