"""How far a notebook is: a line for each cell that has run, and one that moves for the one that does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from enchannel._cli.notebook.plan import Plan
from enchannel._cli.terminal.escapes import plain
from enchannel._cli.terminal.screen import Screen

__all__ = ["Progress"]

TAIL = 2_000  # characters of output in which the last line is looked for
SHORT = 100  # characters of it that are shown in a pipe
BAR = 24  # columns
PACE = 12.5  # times a second that the moving line is drawn


class Progress:
    """Shows it on stderr while its block runs: on a terminal it moves, in a pipe it is a line a cell.

    Args:
        screen: Whose stderr.
        plan: What runs.
    """

    def __init__(self, screen: Screen, plan: Plan) -> None:
        self._pane = screen.err
        self._screen = screen
        self._plan = plan
        self._done = 0
        self._now: _Now | None = None
        self._live: Live | None = None
        if self._pane.terminal:
            console = Console(
                file=self._pane.stream, no_color=not self._pane.colours, highlight=False
            )
            self._live = Live(
                get_renderable=self._drawn,
                console=console,
                refresh_per_second=PACE,
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
        """While something else is written."""
        if self._live is None:
            yield
            return
        self._live.stop()
        try:
            yield
        finally:
            self._live.start()

    def running(self, notebook: cm.Notebook, cell_id: str, since: float) -> None:
        """A cell runs, since a time of ``time.monotonic``."""
        self._now = _Now(self._place(notebook, cell_id), since, notebook.cell(cell_id))

    def ended(self, notebook: cm.Notebook, cell: cm.CodeCell, seconds: float) -> None:
        """A cell has run: for so long, if the kernel does not say it better."""
        self._done += 1
        self._now = None
        failed = any(output["output_type"] == "error" for output in cell.outputs)
        place, last = self._place(notebook, cell.id), _last_line(cell)
        took = _duration(_seconds(cell, seconds))
        if self._live is None:
            words = f"{place}: {'raised, ' if failed else ''}{took}"
            short = last if len(last) <= SHORT else f"{last[:SHORT]}…"
            self._screen.say(f"{words}, {short}" if short else words)
            return
        mark = Text("✗ ", "red") if failed else Text("✓ ", "green")
        line = Text.assemble(mark, f"{place}  ", (f"{took:>7}  ", "cyan"), (last, "dim"))
        line.truncate(max(self._live.console.width - 1, 1), overflow="ellipsis")
        self._live.console.print(line)

    def _place(self, notebook: cm.Notebook, cell_id: str) -> str:
        count = len(notebook.cells)
        return f"cell {notebook.index(cell_id) + 1:{len(str(count))}} of {count}"

    def _drawn(self) -> RenderableType:
        now = self._now
        if now is None:
            return Group()
        whole = len(self._plan.cells) + self._plan.done
        row = Table.grid(padding=(0, 1))
        for ratio in (None, None, None, None, 1):
            row.add_column(no_wrap=True, overflow="ellipsis", ratio=ratio)
        row.add_row(
            self._spinner,
            now.place,
            ProgressBar(whole, self._plan.done + self._done, width=BAR),
            Text(f"{_duration(time.monotonic() - now.since):>7}", "cyan"),
            Text(_last_line(now.cell), "dim"),
        )
        return row

    _spinner = Spinner("dots")


class _Now:
    """The cell that runs: where, since when, and its latest state."""

    __slots__ = ("cell", "place", "since")

    def __init__(self, place: str, since: float, cell: cm.Cell) -> None:
        self.place = place
        self.since = since
        self.cell = cell


def _last_line(cell: cm.Cell) -> str:
    if not isinstance(cell, cm.CodeCell) or not cell.outputs:
        return ""
    output = cell.outputs[-1]
    # Not all of a stream, which may be long.
    shown = (
        output["text"]
        if output["output_type"] == "stream"
        else cm.Outputs.from_nbformat([output]).text
    )
    lines = [line for line in plain(shown[-TAIL:]).splitlines() if line.strip()]
    return lines[-1].strip().replace("\t", " ") if lines else ""


def _seconds(cell: cm.CodeCell, otherwise: float) -> float:
    times = cell.metadata.get("execution", {})
    try:
        begin, end = (
            datetime.fromisoformat(times[name])
            for name in ("iopub.status.busy", "iopub.status.idle")
        )
    except (KeyError, TypeError, ValueError):
        return otherwise
    return (end - begin).total_seconds()


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
