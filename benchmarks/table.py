"""Figures as rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from benchmarks.case import Case, Figure, Goal, Script
from benchmarks.reasons import REASONS
from benchmarks.rounds import HERE, Sample, Samples, Tree

__all__ = ["aligned", "compared", "markdown", "rows"]

HEAD = ("figure", "peer", "ours", "theirs", "ratio", "to reach", "aim", "")
Row = tuple[str, ...]


def rows(script: Script, samples: Samples) -> list[Row]:
    """The figures of one script."""
    return [_row(figure, samples) for figure in script.figures]


def _row(figure: Figure, samples: Samples) -> Row:
    ours = samples[HERE, figure.ours]
    theirs = None if figure.theirs is None else samples[HERE, figure.theirs]
    start = (figure.title, figure.peer)
    bounds = (figure.bound(figure.reach), figure.bound(figure.aim))
    skipped = ours.skipped or (theirs.skipped if theirs is not None else "")
    if skipped:
        return (*start, "-", "-", "-", *bounds, f"not measured: {skipped}")
    ratio = figure.goal.ratio(
        ours.median(figure.value), None if theirs is None else theirs.median(figure.value)
    )
    written = "" if ratio is None or figure.goal is Goal.AT_MOST else f"{ratio:.3g}x"
    return (
        *start,
        _written(ours, figure),
        "" if theirs is None else _written(theirs, figure),
        written,
        *bounds,
        _verdict(figure, ratio),
    )


def _written(sample: Sample, figure: Figure) -> str:
    """The median, and how far the rounds were apart."""
    middle = sample.median(figure.value)
    values = sample.all(figure.value)
    text = figure.unit.written(middle)
    if middle > 0 and len(values) > 1:
        low, high = min(values) / middle - 1, max(values) / middle - 1
        text += f" ({low:+.0%} {high:+.0%})"
    return text


def _verdict(figure: Figure, ratio: float | None) -> str:
    if ratio is None or figure.goal is Goal.NONE:
        return ""
    if figure.aim is not None and figure.goal.reached(ratio, figure.aim):
        return "aim"
    if figure.reach is None and figure.aim is None:
        return ""
    if figure.reach is not None and figure.goal.reached(ratio, figure.reach):
        return "reached"
    reason = REASONS.get((figure.title, figure.peer), "")
    return f"not reached: {reason}" if reason else "not reached"


def compared(cases: Sequence[Case], samples: Samples, before: Tree, after: Tree) -> list[Row]:
    """What our own sides cost on two trees."""
    table: list[Row] = []
    for case in cases:
        old, new = samples[before, case], samples[after, case]
        if old.skipped or new.skipped:
            table.append((str(case), "", "-", "-", f"not measured: {old.skipped or new.skipped}"))
            continue
        for value in new.rounds[0]:
            if value in old.rounds[0] and old.median(value):
                ratio = new.median(value) / old.median(value)
                table.append(
                    (
                        str(case),
                        value,
                        *(f"{s.median(value):.4g}" for s in (old, new)),
                        f"{ratio:.2f}x",
                    )
                )
    return table


def aligned(head: Row, table: Iterable[Row]) -> str:
    """For a terminal."""
    lines = [head, *table]
    widths = [max(map(len, column)) for column in zip_longest(*lines, fillvalue="")]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in lines
    )


def markdown(table: Iterable[Row]) -> str:
    """For the documentation."""
    lines = [HEAD, ("---",) * len(HEAD), *table]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
