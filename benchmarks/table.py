"""Tables of figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from benchmarks.case import Case, Figure, Goal, Script
from benchmarks.reasons import REASONS
from benchmarks.rounds import WORKING_TREE, Sample, Samples, Tree

__all__ = ["aligned", "compared", "markdown", "rows"]

HEAD = ("figure", "peer", "ours", "theirs", "ratio", "required", "target", "")
Row = tuple[str, ...]


def rows(script: Script, samples: Samples) -> list[Row]:
    """Return a row for each figure of a script."""
    return [_row(figure, samples) for figure in script.figures]


def _row(figure: Figure, samples: Samples) -> Row:
    ours = samples[WORKING_TREE, figure.ours]
    theirs = None if figure.theirs is None else samples[WORKING_TREE, figure.theirs]
    start = (figure.title, figure.peer)
    bounds = (figure.bound(figure.required), figure.bound(figure.target))
    skipped = ours.skipped or (theirs.skipped if theirs is not None else "")
    if skipped:
        return (*start, "-", "-", "-", *bounds, f"not measured: {skipped}")
    ratio = figure.goal.ratio(
        ours.median(figure.value), None if theirs is None else theirs.median(figure.value)
    )
    ratio_text = "" if ratio is None or figure.goal is Goal.AT_MOST else f"{ratio:.3g}x"
    return (
        *start,
        _median_text(ours, figure),
        "" if theirs is None else _median_text(theirs, figure),
        ratio_text,
        *bounds,
        _verdict(figure, ratio),
    )


def _median_text(sample: Sample, figure: Figure) -> str:
    """Return the median, and the deviations of the lowest and the highest round from it."""
    middle = sample.median(figure.value)
    values = sample.all(figure.value)
    text = figure.unit.format(middle)
    if middle > 0 and len(values) > 1:
        low, high = min(values) / middle - 1, max(values) / middle - 1
        text += f" ({low:+.0%} {high:+.0%})"
    return text


def _verdict(figure: Figure, ratio: float | None) -> str:
    if ratio is None or figure.goal is Goal.NONE:
        return ""
    if figure.target is not None and figure.goal.is_met(ratio, figure.target):
        return "target met"
    if figure.required is None and figure.target is None:
        return ""
    if figure.required is not None and figure.goal.is_met(ratio, figure.required):
        return "met"
    reason = REASONS.get((figure.title, figure.peer), "")
    return f"not met: {reason}" if reason else "not met"


def compared(cases: Sequence[Case], samples: Samples, before: Tree, after: Tree) -> list[Row]:
    """Return a row for each number of our own cases, measured on two trees."""
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
    """Return a table as text with aligned columns."""
    lines = [head, *table]
    widths = [max(map(len, column)) for column in zip_longest(*lines, fillvalue="")]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in lines
    )


def markdown(table: Iterable[Row]) -> str:
    """Return a table in Markdown."""
    lines = [HEAD, ("---",) * len(HEAD), *table]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
