"""Outputs of cells on the screen, for a notebook that is not saved."""

from __future__ import annotations

from collections.abc import Iterator

import commutable as cm
from enchannel._cli.notebook.progress import Progress
from enchannel._cli.terminal.screen import Screen

__all__ = ["OutputPrinter"]


class OutputPrinter:
    """Prints the outputs of finished cells, and the output that a cell's threads add later."""

    def __init__(self, screen: Screen, progress: Progress) -> None:
        self._screen = screen
        self._progress = progress
        self._printed: dict[str, cm.Outputs] = {}

    def add_finished(self, cell_id: str) -> None:
        """Print the outputs of this cell from now on."""
        self._printed[cell_id] = cm.Outputs()

    def print_new(self, notebook: cm.Notebook) -> None:
        """Print the outputs of finished cells that were not printed yet."""
        for cell_id, before in self._printed.items():
            cell = notebook.cell(cell_id)
            if isinstance(cell, cm.CodeCell) and cell.outputs is not before:
                self._printed[cell_id] = cell.outputs
                with self._progress.paused():
                    self._print(_new_outputs(before, cell.outputs))

    def _print(self, outputs: Iterator[cm.Output]) -> None:
        for output in outputs:
            to_err = output["output_type"] == "error" or output.get("name") == "stderr"
            pane = self._screen.err if to_err else self._screen.out
            self._screen.write_block(pane, cm.Outputs.from_nbformat([output]).text)
        self._screen.flush()


def _new_outputs(before: cm.Outputs, after: cm.Outputs) -> Iterator[cm.Output]:
    """Yield the outputs, or the ends of stream outputs, that an earlier state did not have."""
    for index, output in enumerate(after):
        old = before[index] if index < len(before) else None
        if output == old:
            continue
        if output["output_type"] == "stream" and old and old["output_type"] == "stream":
            has_grown = output["name"] == old["name"] and output["text"].startswith(old["text"])
            rest = output["text"].removeprefix(old["text"])
            yield {**output, "text": rest} if has_grown else output
        else:
            yield output
