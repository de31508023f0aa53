"""Immutable Jupyter notebooks: documents, operations, history, files and execution.

A ``Notebook`` is immutable: each operation returns another one, which shares all unchanged parts.

::

    import commutable as cm

    notebook = cm.load("analysis.ipynb")
    after = cm.append_cell(notebook, cm.code_cell("6 * 7"))
    states = cm.execute(after, kernel)  # Observable[Notebook]
"""

from commutable._cell import (
    Attachments,
    Cell,
    CellStatus,
    CodeCell,
    MarkdownCell,
    RawCell,
    code_cell,
    create_cell_id,
    markdown_cell,
    raw_cell,
)
from commutable._diff import Difference, diff
from commutable._execution import execute, runnable_cells
from commutable._files import Saver, load, save
from commutable._format import cell_to_dict, from_dict, output_to_dict, to_dict
from commutable._history import History
from commutable._notebook import Notebook, empty_notebook, monocell_notebook
from commutable._operations import (
    append_cell,
    attach,
    change_cell_type,
    clear_all_outputs,
    clear_outputs,
    delete_cell,
    detach,
    insert_cell_after,
    insert_cell_at,
    mark_cell_deleting,
    mark_cell_not_deleting,
    merge_cells,
    move_cell,
    replace_cell,
    set_cell_metadata,
    set_metadata,
    split_cell,
    update_execution_count,
    update_outputs,
    update_source,
)
from commutable._output import display_output, error_output, result_output, stream_output
from commutable._parameters import with_parameters
from commutable.errors import (
    CellFailed,
    CellNotFound,
    DuplicateCell,
    InvalidNotebook,
    NotebookError,
)
from enchannel import (
    DisplayOutput,
    ErrorOutput,
    Output,
    Outputs,
    ResultOutput,
    StreamOutput,
)

__all__ = [
    "Attachments",
    "Cell",
    "CellFailed",
    "CellNotFound",
    "CellStatus",
    "CodeCell",
    "Difference",
    "DisplayOutput",
    "DuplicateCell",
    "ErrorOutput",
    "History",
    "InvalidNotebook",
    "MarkdownCell",
    "Notebook",
    "NotebookError",
    "Output",
    "Outputs",
    "RawCell",
    "ResultOutput",
    "Saver",
    "StreamOutput",
    "append_cell",
    "attach",
    "cell_to_dict",
    "change_cell_type",
    "clear_all_outputs",
    "clear_outputs",
    "code_cell",
    "create_cell_id",
    "delete_cell",
    "detach",
    "diff",
    "display_output",
    "empty_notebook",
    "error_output",
    "execute",
    "from_dict",
    "insert_cell_after",
    "insert_cell_at",
    "load",
    "mark_cell_deleting",
    "mark_cell_not_deleting",
    "markdown_cell",
    "merge_cells",
    "monocell_notebook",
    "move_cell",
    "output_to_dict",
    "raw_cell",
    "replace_cell",
    "result_output",
    "runnable_cells",
    "save",
    "set_cell_metadata",
    "set_metadata",
    "split_cell",
    "stream_output",
    "to_dict",
    "update_execution_count",
    "update_outputs",
    "update_source",
    "with_parameters",
]
