"""The cells of a notebook: code, Markdown, raw. They never change; ``dataclasses.replace`` makes others."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Literal, Self, TypeAlias

from commutable._document_errors import InvalidNotebook
from enchannel import InvalidMessage, Outputs
from enchannel.frozen import EMPTY, FrozenDict, freeze

__all__ = [
    "Attachments",
    "Cell",
    "CellStatus",
    "CodeCell",
    "MarkdownCell",
    "RawCell",
    "code_cell",
    "frozen_dict",
    "markdown_cell",
    "new_id",
    "raw_cell",
]

Attachments: TypeAlias = Mapping[str, Mapping[str, Any]]
"""What a cell shows and has with it: media bundles, by the names that its text calls them."""

ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class CellStatus(Enum):
    """What becomes of a code cell while its notebook runs; no file has it."""

    IDLE = "idle"
    QUEUED = "queued"
    RUNNING = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What all cells have."""

    id: str
    source: str = ""
    metadata: dict[str, Any] = field(default_factory=FrozenDict)
    deleting: bool = False
    extra: dict[str, Any] = field(default_factory=FrozenDict)

    def __post_init__(self) -> None:
        if not (isinstance(self.id, str) and ID.fullmatch(self.id)):
            raise InvalidNotebook(
                f"{self.id!r} is no id of a cell: those are up to 64 letters, digits, - and _"
            )
        if not isinstance(self.source, str):
            raise InvalidNotebook(f"the source of cell {self.id} is no text: {self.source!r}")
        _freeze(self, "metadata")
        _freeze(self, "extra")

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags in its metadata."""
        tags = self.metadata.get("tags")
        return tuple(map(str, tags)) if isinstance(tags, list) else ()

    def __hash__(self) -> int:
        return hash(self.id)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCell(_Common):
    """Code, and what came of it.

    Attributes:
        id: Its name in the notebook, in which it is unique.
        source: The code.
        metadata: What nbformat, tools and people have noted; frozen, as are all dicts of a cell.
        outputs: What it printed, displayed, returned and raised; each a dict of nbformat's.
        execution_count: The number in the prompt; None if it was not run.
        status: Whether it runs, or waits for that; no file has it.
        deleting: Marked to be deleted, by a user interface; no file has it.
        extra: Other fields, of a later nbformat.
    """

    cell_type: ClassVar[Literal["code"]] = "code"

    outputs: Outputs = field(default_factory=Outputs)
    execution_count: int | None = None
    status: CellStatus = CellStatus.IDLE

    def __post_init__(self) -> None:
        _Common.__post_init__(self)
        if not isinstance(self.outputs, Outputs):
            object.__setattr__(self, "outputs", _outputs(self.id, self.outputs))
        count = self.execution_count
        if count is not None and (type(count) is not int or count < 0):
            raise InvalidNotebook(f"cell {self.id} cannot have the execution count {count!r}")

    def __hash__(self) -> int:  # else dataclass would make another
        return hash(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attaching(_Common):
    """What all cells have but those of code."""

    attachments: dict[str, dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        _Common.__post_init__(self)
        _freeze(self, "attachments")

    def __hash__(self) -> int:  # else dataclass would make another
        return hash(self.id)


# Equality is inherited: the same class, and the same fields.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarkdownCell(_Attaching):
    """Prose.

    Attributes:
        id, source, metadata, deleting, extra: As of a ``CodeCell``.
        attachments: Images and other media that the text shows as ``attachment:NAME``: for each name the
            same thing in one or more formats. None and none at all are two things to nbformat.
    """

    cell_type: ClassVar[Literal["markdown"]] = "markdown"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawCell(_Attaching):
    """Text that is passed on as it is.

    Attributes:
        id, source, metadata, deleting, extra: As of a ``CodeCell``.
        attachments: As of a ``MarkdownCell``.
    """

    cell_type: ClassVar[Literal["raw"]] = "raw"


Cell: TypeAlias = CodeCell | MarkdownCell | RawCell


def code_cell(
    source: str = "",
    *,
    id: str | None = None,
    metadata: Mapping[str, Any] = EMPTY,
    outputs: Iterable[Mapping[str, Any]] = (),
    execution_count: int | None = None,
) -> CodeCell:
    """A cell of code.

    Args:
        source: The code.
        id: Its name in the notebook; a fresh one by default.
        metadata: Copied and frozen.
        outputs: ``Outputs``, or outputs as nbformat has them, which are copied and frozen.
        execution_count: The number in the prompt.

    Raises:
        InvalidNotebook: no notebook can have such a cell.

    Example:
        >>> cm.code_cell("6 * 7").source
        '6 * 7'
    """
    id = new_id() if id is None else id
    return CodeCell(
        id=id,
        source=source,
        metadata=frozen_dict(metadata, "metadata"),
        outputs=_outputs(id, outputs),
        execution_count=execution_count,
    )


def markdown_cell(
    source: str = "",
    *,
    id: str | None = None,
    metadata: Mapping[str, Any] = EMPTY,
    attachments: Attachments | None = None,
) -> MarkdownCell:
    """A cell of Markdown; the arguments are those of ``code_cell`` and the attributes of ``MarkdownCell``.

    Raises:
        InvalidNotebook: no notebook can have such a cell.
    """
    return MarkdownCell(
        id=new_id() if id is None else id,
        source=source,
        metadata=frozen_dict(metadata, "metadata"),
        attachments=None if attachments is None else frozen_dict(attachments, "attachments"),
    )


def raw_cell(
    source: str = "",
    *,
    id: str | None = None,
    metadata: Mapping[str, Any] = EMPTY,
    attachments: Attachments | None = None,
) -> RawCell:
    """A cell of text for something else; as ``markdown_cell``."""
    return RawCell(
        id=new_id() if id is None else id,
        source=source,
        metadata=frozen_dict(metadata, "metadata"),
        attachments=None if attachments is None else frozen_dict(attachments, "attachments"),
    )


def new_id() -> str:
    """An id that no other cell has."""
    return uuid.uuid4().hex[:12]


def frozen_dict(value: object, what: str) -> FrozenDict:
    """It, frozen; a copy, unless it is already.

    Raises:
        InvalidNotebook: it is not what JSON calls an object.
    """
    if isinstance(value, FrozenDict):
        return value
    if not isinstance(value, Mapping):
        raise InvalidNotebook(f"{what} is no dict: {value!r}")
    try:
        frozen: FrozenDict = freeze(value, what)
    except InvalidMessage as error:
        raise InvalidNotebook(str(error)) from error
    return frozen


def _freeze(cell: _Common, name: str) -> None:
    value = getattr(cell, name)
    if value is not None and not isinstance(value, FrozenDict):
        object.__setattr__(cell, name, frozen_dict(value, f"{name} of cell {cell.id}"))


def _outputs(cell_id: str, outputs: Iterable[Mapping[str, Any]]) -> Outputs:
    if isinstance(outputs, Outputs):
        return outputs
    outputs = tuple(outputs)
    for output in outputs:
        if not isinstance(output, Mapping):
            raise InvalidNotebook(f"cell {cell_id}: this is no output: {output!r}")
    try:
        return Outputs.from_nbformat(outputs)
    except InvalidMessage as error:
        raise InvalidNotebook(f"cell {cell_id}: {error}") from error
