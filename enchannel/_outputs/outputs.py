"""The reducer from messages to the outputs of a notebook cell: pure, without Rx.

The rules are those of nbclient and JupyterLab, which apply them to mutable lists:

- Consecutive stream messages of one name are one output (JupyterLab; nbclient as an option).
- An ``execute_result`` can be updated by its ``display_id``, like a display (nbclient).
- Another display with the same ``display_id`` also updates the first (both).
- An update does not add an output, so a pending ``clear_output(wait=True)`` stays pending (both).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import add, or_
from typing import Any, ClassVar, TypeAlias, cast, overload

from enchannel._outputs.chunks import Chunks, append, in_order
from enchannel._outputs.items import DisplayContent, DisplaySlot, StreamText
from enchannel._outputs.output import (
    DisplayKey,
    Output,
    display_id_of,
    error_output,
    execution_count_of,
    in_short,
    stream_name_of,
    stream_text_of,
    text_of,
)
from enchannel._protocol.message import AnyMessage
from enchannel.frozen import FrozenDict, freeze

__all__ = ["Outputs"]

MAX_REPR_OUTPUTS = 6

Item: TypeAlias = FrozenDict | StreamText | DisplaySlot


class Outputs(Sequence[Output]):
    """The outputs of a notebook cell, built message by message. Immutable.

    ``add`` returns the outputs after one more message, in constant time regardless of their number; the
    text of a stream is joined when it is read. Fields that a kernel leaves out are empty, and no
    message makes ``add`` raise.

    An ``Outputs`` equals any list, tuple or ``Outputs`` of equal outputs. Pass ``list(outputs)`` to
    nbformat as the ``outputs`` of a cell; ``copy.deepcopy(list(outputs))`` is a mutable copy.

    Args:
        terminal: Apply carriage returns and backspaces in streams as a terminal does (JupyterLab does
            so too): only the last state of a progress bar is kept, with its colours. The default keeps
            all text.

    Example:
        >>> hello = ec.Outputs().add(messages.stream("stdout", "Hello "))
        >>> hello.add(messages.stream("stdout", "World"))
        Outputs(stream 'Hello World')
        >>> hello.text
        'Hello '
    """

    __slots__ = ("_clear_next", "_closed", "_displays", "_growing", "_read", "_terminal", "_text")

    def __init__(self, *, terminal: bool = False) -> None:
        self._terminal = terminal
        # The stream at the end may still grow, so it is not in `_closed` yet.
        self._closed: Chunks[tuple[Item, ...]] | None = None
        self._growing: StreamText | None = None
        self._displays: Chunks[dict[DisplayKey, DisplayContent]] | None = None
        self._clear_next = False
        self._read: tuple[Output, ...] | None = None
        self._text: str | None = None

    @classmethod
    def from_nbformat(
        cls, outputs: Iterable[Mapping[str, Any]], *, terminal: bool = False
    ) -> Outputs:
        """Return the outputs of a cell in a notebook file. Values that are not frozen are copied.

        Args:
            outputs: nbformat 4 outputs.
            terminal: Apply carriage returns and backspaces to streams that are added later.

        Raises:
            InvalidMessage: a value that JSON cannot represent; the text names its path.
        """
        items = tuple(
            output if isinstance(output, FrozenDict) else freeze(output, "an output")
            for output in outputs
        )
        made = cls(terminal=terminal)
        made._closed = Chunks(None, items) if items else None
        return made

    def add(self, message: AnyMessage) -> Outputs:
        """Return the outputs after this message; ``self`` if the message does not change them."""
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
        """Return the outputs after a display message of another cell.

        Only displays with the same ``display_id`` change; if there are none, ``self`` is returned.
        """
        if message.header.msg_type in ("display_data", "execute_result", "update_display_data"):
            return self._with_update(message.content)
        return self

    @property
    def display_ids(self) -> frozenset[str | int]:
        """The ``display_id`` of each updatable display."""
        return frozenset(chain.from_iterable(in_order(self._displays)))

    @property
    def text(self) -> str:
        """The outputs as plain text, as a terminal would show them.

        Streams, the ``text/plain`` of displays and results, and tracebacks, each on its own lines,
        without escape sequences and with only the last state of a progress bar.
        """
        if self._text is None:
            self._text = _on_own_lines(map(text_of, self))
        return self._text

    def is_unchanged_from(self, other: Outputs) -> bool:
        """Return True if all parts are identical (``is``). Fast, where ``==`` compares every output."""
        return (
            self._growing is other._growing
            and self._closed is other._closed
            and self._displays is other._displays
        )

    def __len__(self) -> int:
        return sum(map(len, in_order(self._closed))) + (self._growing is not None)

    @overload
    def __getitem__(self, index: int) -> Output: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Output, ...]: ...
    def __getitem__(self, index: int | slice) -> Output | tuple[Output, ...]:
        if index == -1 and self._read is None:  # the access of live displays
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

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # outputs are not hashable

    def __copy__(self) -> Outputs:
        return self

    def __deepcopy__(self, memo: object) -> Outputs:
        return self

    def __repr__(self) -> str:
        few = ", ".join(map(in_short, self[:MAX_REPR_OUTPUTS]))
        more = f", and {len(self) - MAX_REPR_OUTPUTS} more" if len(self) > MAX_REPR_OUTPUTS else ""
        return f"Outputs({few}{more})"

    def _with_stream(self, name: str, text: str) -> Outputs:
        before = self._ready()
        growing = before._growing
        if growing is None or growing.name != name:
            begun = StreamText(name, Chunks(None, text), 0 if self._terminal else None)
            return before._changed(before._all_closed(), begun, before._displays)
        if not text:
            return before
        return before._changed(before._closed, growing.extended(text), before._displays)

    def _with_display(self, output_type: str, content: Mapping[str, Any]) -> Outputs:
        shown, count = DisplayContent(content), execution_count_of(content)
        display_id = display_id_of(content)
        if display_id is None:
            return self._with_item(shown.output(output_type, count))
        after = self._with_item(DisplaySlot(display_id, output_type, count))
        after._displays = append(after._displays, {display_id: shown}, or_)
        return after

    def _with_update(self, content: Mapping[str, Any]) -> Outputs:
        display_id = display_id_of(content)
        if display_id is None:
            return self
        before, shown = _by_id(self._displays).get(display_id), DisplayContent(content)
        if before is None or before == shown:
            return self
        displays = append(self._displays, {display_id: shown}, or_)
        return self._changed(self._closed, self._growing, displays, clear_next=self._clear_next)

    def _with_item(self, item: Item) -> Outputs:
        before = self._ready()
        return before._changed(append(before._all_closed(), (item,), add), None, before._displays)

    def _cleared(self, *, wait: bool) -> Outputs:
        if (wait and self._clear_next) or not (self._closed or self._growing):
            return self
        if not wait:
            return _NOTHING[self._terminal]
        return self._changed(self._closed, self._growing, self._displays, clear_next=True)

    def _ready(self) -> Outputs:
        """Return the outputs to append to: none after ``clear_output(wait=True)``."""
        return _NOTHING[self._terminal] if self._clear_next else self

    def _changed(
        self,
        closed: Chunks[tuple[Item, ...]] | None,
        growing: StreamText | None,
        displays: Chunks[dict[DisplayKey, DisplayContent]] | None,
        *,
        clear_next: bool = False,
    ) -> Outputs:
        outputs = Outputs(terminal=self._terminal)
        outputs._closed = closed
        outputs._growing = growing
        outputs._displays = displays
        outputs._clear_next = clear_next
        return outputs

    def _all_closed(self) -> Chunks[tuple[Item, ...]] | None:
        if self._growing is None:
            return self._closed
        return append(self._closed, (self._growing,), add)

    def _all(self) -> tuple[Output, ...]:
        if self._read is None:
            displays: dict[DisplayKey, DisplayContent] = {}
            for some in in_order(self._displays):
                displays |= some
            items = chain.from_iterable(in_order(self._all_closed()))
            outputs = [i if isinstance(i, FrozenDict) else i.output_among(displays) for i in items]
            self._read = cast("tuple[Output, ...]", tuple(outputs))
        return self._read

    def _last(self) -> Output:
        item: Item
        if self._growing is not None:
            item = self._growing
        elif self._closed is not None:
            item = self._closed.newest[-1]
        else:
            raise IndexError("there are no outputs")
        if not isinstance(item, FrozenDict):
            item = item.output_among(_by_id(self._displays))
        return cast("Output", item)


_NOTHING = (Outputs(), Outputs(terminal=True))


def _by_id(
    displays: Chunks[dict[DisplayKey, DisplayContent]] | None,
) -> Mapping[DisplayKey, DisplayContent]:
    return ChainMap(*reversed(in_order(displays)))


def _on_own_lines(texts: Iterable[str]) -> str:
    parts: list[str] = []
    for text in filter(None, texts):
        if parts and not parts[-1].endswith("\n"):
            parts.append("\n")
        parts.append(text)
    return "".join(parts)
