"""``enchannel run analysis.ipynb``."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import commutable as cm
import enchannel as ec
from enchannel._cli.child_processes import kill_children
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.input_reader import InputReader
from enchannel._cli.kernel_session import open_kernel, use_kernel
from enchannel._cli.notebook.files import (
    NotebookWriter,
    UnusableNotebook,
    is_stdout,
    is_stream,
    require_writable_stream,
    save_notebook,
    write_notebook,
)
from enchannel._cli.notebook.plan import NotebookPlan, plan_notebook
from enchannel._cli.notebook.run import NotebookRun
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Signals

__all__ = ["run_notebook"]


def run_notebook(arguments: argparse.Namespace, screen: Screen, signals: Signals) -> int:
    """Run a notebook; return the exit code."""
    try:
        plan = plan_notebook(arguments, screen.warn)
        writer = _open_output(arguments.output, plan.notebook)
    except UnusableNotebook as error:
        screen.print_message(str(error))
        return ExitCode.USAGE
    if plan.done:
        screen.print_message(_resume_message(plan, arguments))
    if not plan.cells:
        if writer is not None:
            writer.finish(plan.notebook)
        return ExitCode.OK
    has_notebook = arguments.output is not None and is_stdout(arguments.output)
    input_reader = InputReader(sys.stdin, screen, stdout_has_messages=has_notebook)

    def execute(kernel: ec.Kernel) -> ExitCode:
        run = NotebookRun(kernel, plan, writer, screen, input_reader, signals)
        try:
            return run.run(timeout=arguments.timeout, allow_errors=arguments.allow_errors)
        except UnusableNotebook as error:
            screen.print_message(str(error))
            return ExitCode.RAISED
        finally:
            if kernel.owned and kernel.state.value is ec.KernelState.BUSY:
                # The code was interrupted and still runs.
                kill_children()

    kernel = open_kernel(
        arguments,
        screen,
        default_name=plan.notebook.kernel_name or "",
        cwd=Path(arguments.code).absolute().parent,
    )
    return use_kernel(kernel, execute, arguments, screen, signals)


def _open_output(path: str | None, notebook: cm.Notebook) -> NotebookWriter | None:
    """Return the writer of the output file, if there is one.

    Raises:
        UnusableNotebook: the file cannot be written.
    """
    if path is None:
        return None
    if is_stream(path):
        require_writable_stream(path)
        return NotebookWriter(partial(write_notebook, path=path), once=True)
    saver = cm.Saver(path)
    # Fails before any code runs if the file cannot be written.
    save_notebook(notebook, saver)
    return NotebookWriter(partial(save_notebook, saver=saver), notebook)


def _resume_message(plan: NotebookPlan, arguments: argparse.Namespace) -> str:
    if not plan.cells:
        return "nothing to run: all cells have run and are unchanged"
    number = plan.notebook.index(plan.cells[0]) + 1
    where = f"resuming at cell {number} of {len(plan.notebook.cells)}"
    if arguments.existing:
        return where
    return f"{where} in a new kernel (earlier cells are not re-run)"
