"""Operations on notebooks. Each returns a notebook that shares all unchanged parts with its argument.

An operation that changes nothing returns its argument, so ``after is before`` detects a no-op.
"""

from commutable._operations.attachments import attach, detach
from commutable._operations.cells import (
    append_cell,
    delete_cell,
    insert_cell_after,
    insert_cell_at,
    move_cell,
    replace_cell,
)
from commutable._operations.fields import (
    mark_cell_deleting,
    mark_cell_not_deleting,
    set_cell_metadata,
    set_metadata,
    update_source,
)
from commutable._operations.outputs import (
    clear_all_outputs,
    clear_outputs,
    update_execution_count,
    update_outputs,
)
from commutable._operations.reshaping import change_cell_type, merge_cells, split_cell

__all__ = [
    "append_cell",
    "attach",
    "change_cell_type",
    "clear_all_outputs",
    "clear_outputs",
    "delete_cell",
    "detach",
    "insert_cell_after",
    "insert_cell_at",
    "mark_cell_deleting",
    "mark_cell_not_deleting",
    "merge_cells",
    "move_cell",
    "replace_cell",
    "set_cell_metadata",
    "set_metadata",
    "split_cell",
    "update_execution_count",
    "update_outputs",
    "update_source",
]
