"""The immutable cells of a notebook: code, Markdown, raw. ``dataclasses.replace`` makes changed copies."""

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
    "create_cell_id",
    "frozen_dict",
    "markdown_cell",
    "raw_cell",
]

Attachments: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The attachments of a cell: for each name a dict of content by MIME type."""

CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class CellStatus(Enum):
    """The state of a code cell in a running notebook; not saved to files."""

    IDLE = "idle"
    QUEUED = "queued"
    RUNNING = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class _BaseCell:
    """The fields of all cells."""

    id: str
    source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=FrozenDict)
    deleting: bool = False
    extra: Mapping[str, Any] = field(default_factory=FrozenDict)

    def __post_init__(self) -> None:
        if not (isinstance(self.id, str) and CELL_ID.fullmatch(self.id)):
            raise InvalidNotebook(
                f"cell id must be 1 to 64 letters, digits, '-' or '_', not {self.id!r}"
            )
        if not isinstance(self.source, str):
            raise InvalidNotebook(f"source of cell {self.id} must be a str, not {self.source!r}")
        _freeze(self, "metadata")
        _freeze(self, "extra")

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags in the metadata."""
        tags = self.metadata.get("tags")
        return tuple(map(str, tags)) if isinstance(tags, list) else ()

    def __hash__(self) -> int:
        return hash(self.id)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCell(_BaseCell):
    """A code cell with its outputs.

    Attributes:
        id: The id of the cell, unique in its notebook.
        source: The code.
        metadata: The metadata of the cell; an immutable mapping, like attachments and extra.
        outputs: The outputs of the last run, in nbformat form.
        execution_count: The number in the prompt; None if the cell has not run.
        status: The state in a running notebook; not saved to files.
        deleting: True if a user interface has marked the cell for deletion; not saved to files.
        extra: Unknown fields from a later version of nbformat.
    """

    cell_type: ClassVar[Literal["code"]] = "code"

    outputs: Outputs = field(default_factory=Outputs)
    execution_count: int | None = None
    status: CellStatus = CellStatus.IDLE

    def __post_init__(self) -> None:
        _BaseCell.__post_init__(self)
        if not isinstance(self.outputs, Outputs):
            object.__setattr__(self, "outputs", _outputs(self.id, self.outputs))
        count = self.execution_count
        if count is not None and (type(count) is not int or count < 0):
            raise InvalidNotebook(
                f"execution_count of cell {self.id} must be a non-negative int or None, not {count!r}"
            )

    def __hash__(self) -> int:  # dataclass would generate one
        return hash(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CellWithAttachments(_BaseCell):
    """The fields of Markdown and raw cells."""

    attachments: Attachments | None = None

    def __post_init__(self) -> None:
        _BaseCell.__post_init__(self)
        _freeze(self, "attachments")

    def __hash__(self) -> int:  # dataclass would generate one
        return hash(self.id)


# Equality is inherited; it compares the class and all fields.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarkdownCell(_CellWithAttachments):
    """A Markdown cell.

    Attributes:
        id, source, metadata, deleting, extra: As in ``CodeCell``.
        attachments: Images and other media that the text refers to as ``attachment:NAME``, each in one
            or more formats. nbformat distinguishes None from an empty dict.
    """

    cell_type: ClassVar[Literal["markdown"]] = "markdown"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawCell(_CellWithAttachments):
    """A raw cell: text that is passed on unchanged.

    Attributes:
        id, source, metadata, deleting, extra: As in ``CodeCell``.
        attachments: As in ``MarkdownCell``.
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
    """Create a code cell.

    Args:
        source: The code.
        id: The id of the cell; generated by default.
        metadata: The metadata; copied and frozen.
        outputs: An ``Outputs``, or outputs in nbformat form, which are copied and frozen.
        execution_count: The number in the prompt.

    Raises:
        InvalidNotebook: an argument is invalid.

    Example:
        >>> cm.code_cell("6 * 7").source
        '6 * 7'
    """
    id = create_cell_id() if id is None else id
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
    """Create a Markdown cell.

    Args:
        source: The text.
        id: The id of the cell; generated by default.
        metadata: The metadata; copied and frozen.
        attachments: Content by name and MIME type, as in ``MarkdownCell``; copied and frozen.

    Raises:
        InvalidNotebook: an argument is invalid.
    """
    return MarkdownCell(
        id=create_cell_id() if id is None else id,
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
    """Create a raw cell; the arguments and errors are those of ``markdown_cell``."""
    return RawCell(
        id=create_cell_id() if id is None else id,
        source=source,
        metadata=frozen_dict(metadata, "metadata"),
        attachments=None if attachments is None else frozen_dict(attachments, "attachments"),
    )


def create_cell_id() -> str:
    """Return a random id for a cell; cells that are created without an id get one."""
    return uuid.uuid4().hex[:12]


def frozen_dict(value: object, name: str) -> FrozenDict:
    """Return the value as a frozen dict; a copy, unless it is frozen already.

    Raises:
        InvalidNotebook: the value is not a JSON object. The text calls it ``name``.
    """
    if isinstance(value, FrozenDict):
        return value
    if not isinstance(value, Mapping):
        raise InvalidNotebook(f"{name} must be a dict, not {value!r}")
    try:
        frozen: FrozenDict = freeze(value, name)
    except InvalidMessage as error:
        raise InvalidNotebook(str(error)) from error
    return frozen


def _freeze(cell: _BaseCell, name: str) -> None:
    value = getattr(cell, name)
    if value is not None and not isinstance(value, FrozenDict):
        object.__setattr__(cell, name, frozen_dict(value, f"{name} of cell {cell.id}"))


def _outputs(cell_id: str, outputs: Iterable[Mapping[str, Any]]) -> Outputs:
    if isinstance(outputs, Outputs):
        return outputs
    outputs = tuple(outputs)
    for output in outputs:
        if not isinstance(output, Mapping):
            raise InvalidNotebook(f"outputs of cell {cell_id} must be dicts, not {output!r}")
    try:
        return Outputs.from_nbformat(outputs)
    except InvalidMessage as error:
        raise InvalidNotebook(f"cell {cell_id}: {error}") from error
