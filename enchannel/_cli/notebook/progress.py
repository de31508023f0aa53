"""Progress of a notebook: one line for each finished cell, and an animated one for the running cell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

import commutable as cm
from enchannel._cli.notebook.plan import NotebookPlan
from enchannel._cli.terminal.escapes import strip_escapes
from enchannel._cli.terminal.screen import Screen

__all__ = ["Progress"]

# The last line of a longer output is searched for in this many characters.
MAX_SEARCH_LENGTH = 2_000
# A longer last line is cut in a pipe.
MAX_LINE_LENGTH = 100
BAR_WIDTH = 24
REFRESHES_PER_SECOND = 12.5


class Progress:
    """Shows progress on stderr while its block runs: animated on a terminal, one line a cell in a pipe.

    Args:
        screen: The screen whose stderr is written to.
        plan: The cells that run.
    """

    _spinner = Spinner("dots")

    def __init__(self, screen: Screen, plan: NotebookPlan) -> None:
        self._pane = screen.err
        self._screen = screen
        self._plan = plan
        self._finished = 0
        self._running: _RunningCell | None = None
        self._live: Live | None = None
        if self._pane.is_terminal:
            console = Console(
                file=self._pane.stream, no_color=not self._pane.has_colours, highlight=False
            )
            self._live = Live(
                get_renderable=self._render,
                console=console,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the animated line while other text is written in the block."""
        if self._live is None:
            yield
            return
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def show_running(self, notebook: cm.Notebook, cell_id: str, started_at: float) -> None:
        """Show a cell that runs since a time of ``time.monotonic()``."""
        position = self._position(notebook, cell_id)
        self._running = _RunningCell(position, started_at, notebook.cell(cell_id))

    def show_finished(self, notebook: cm.Notebook, cell: cm.CodeCell, seconds: float) -> None:
        """Show a cell that has run for some seconds; the kernel's own times are preferred."""
        self._finished += 1
        self._running = None
        failed = any(output["output_type"] == "error" for output in cell.outputs)
        position, last = self._position(notebook, cell.id), _last_line(cell)
        duration = _format_duration(_duration(cell, seconds))
        if self._live is None:
            text = f"{position}: {'raised, ' if failed else ''}{duration}"
            short = last if len(last) <= MAX_LINE_LENGTH else f"{last[:MAX_LINE_LENGTH]}…"
            self._screen.print_message(f"{text}, {short}" if short else text)
            return
        mark = Text("✗ ", "red") if failed else Text("✓ ", "green")
        line = Text.assemble(mark, f"{position}  ", (f"{duration:>7}  ", "cyan"), (last, "dim"))
        line.truncate(max(self._live.console.width - 1, 1), overflow="ellipsis")
        self._live.console.print(line)

    def _position(self, notebook: cm.Notebook, cell_id: str) -> str:
        count = len(notebook.cells)
        return f"cell {notebook.index(cell_id) + 1:{len(str(count))}} of {count}"

    def _render(self) -> RenderableType:
        running = self._running
        if running is None:
            return Group()
        total = len(self._plan.cells) + self._plan.done
        row = Table.grid(padding=(0, 1))
        for ratio in (None, None, None, None, 1):
            row.add_column(no_wrap=True, overflow="ellipsis", ratio=ratio)
        row.add_row(
            self._spinner,
            running.position,
            ProgressBar(total, self._plan.done + self._finished, width=BAR_WIDTH),
            Text(f"{_format_duration(time.monotonic() - running.started_at):>7}", "cyan"),
            Text(_last_line(running.cell), "dim"),
        )
        return row


@dataclass(frozen=True, slots=True)
class _RunningCell:
    """The latest state of the running cell."""

    position: str
    started_at: float
    cell: cm.Cell


def _last_line(cell: cm.Cell) -> str:
    if not isinstance(cell, cm.CodeCell) or not cell.outputs:
        return ""
    output = cell.outputs[-1]
    # The text of a stream is not processed as a whole: it may be long.
    text = (
        output["text"]
        if output["output_type"] == "stream"
        else cm.Outputs.from_nbformat([output]).text
    )
    lines = [line for line in strip_escapes(text[-MAX_SEARCH_LENGTH:]).splitlines() if line.strip()]
    return lines[-1].strip().replace("\t", " ") if lines else ""


def _duration(cell: cm.CodeCell, default: float) -> float:
    """Return the seconds between the kernel's busy and idle, or a default if they are not known."""
    times = cell.metadata.get("execution", {})
    try:
        begin, end = (
            datetime.fromisoformat(times[name])
            for name in ("iopub.status.busy", "iopub.status.idle")
        )
    except (KeyError, TypeError, ValueError):
        return default
    return (end - begin).total_seconds()


def _format_duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
