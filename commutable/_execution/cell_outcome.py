"""The meaning of an ``execute_reply`` for its cell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeGuard

import enchannel as ec
from commutable._cell import CodeCell
from enchannel import messages
from enchannel.frozen import EMPTY

__all__ = ["failure", "is_execution_count", "with_reply"]

MAY_RAISE_TAG = "raises-exception"
ANSI_SEQUENCE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def is_execution_count(value: object) -> TypeGuard[int]:
    """Return True if the value is a valid execution count."""
    return type(value) is int and value >= 0


def with_reply(cell: CodeCell, reply: ec.AnyMessage) -> CodeCell:
    """Return the cell with the execution count and the error of its reply, if it lacks them."""
    count = reply.content.get("execution_count")
    if cell.execution_count is None and is_execution_count(count):
        cell = replace(cell, execution_count=count)
    has_raised = reply.content.get("status") == "error"
    if has_raised and all(output["output_type"] != "error" for output in cell.outputs):
        error = _kernel_error(cell, reply.content)
        # Some kernels report an error in the reply only, others write it to stderr as well.
        if _is_on_stderr(cell, error):
            return cell
        message = messages.error(error.ename, error.evalue, list(error.traceback), parent=reply)
        cell = replace(cell, outputs=cell.outputs.add(message))
    return cell


def failure(
    cell: CodeCell, reply: ec.AnyMessage | None, *, allow_errors: bool
) -> ec.EnchannelError | None:
    """Return the error with which a reply stops the run, or None."""
    content = EMPTY if reply is None else reply.content
    match content.get("status"):
        case "error" if not (allow_errors or MAY_RAISE_TAG in cell.tags):
            return _kernel_error(cell, content)
        case "aborted" | "abort":
            return ec.RequestAborted(
                "the kernel did not run the cell because earlier code had failed"
            )
        case _:
            return None


def _kernel_error(cell: CodeCell, content: Mapping[str, Any]) -> ec.KernelError:
    """Return the error in the content of a reply, completed from the last error output of the cell."""
    errors = [output for output in cell.outputs if output["output_type"] == "error"]
    last: Mapping[str, Any] = errors[-1] if errors else EMPTY
    ename, evalue, traceback = (
        content.get(key) or last.get(key) for key in ("ename", "evalue", "traceback")
    )
    lines = traceback if isinstance(traceback, list) else []
    return ec.KernelError(str(ename or "Error"), str(evalue or ""), tuple(map(str, lines)))


def _is_on_stderr(cell: CodeCell, error: ec.KernelError) -> bool:
    """Return True if the cell wrote the traceback to stderr, or anything for an error without traceback."""
    written = [
        output["text"]
        for output in cell.outputs
        if output["output_type"] == "stream" and output["name"] == "stderr"
    ]
    lines = ANSI_SEQUENCE.sub("", "\n".join(error.traceback)).strip()
    return bool(written) and lines in ANSI_SEQUENCE.sub("", "".join(written))
