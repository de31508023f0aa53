"""The first thing that a script does: what importing costs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.case import Case, Figure, Goal, Kernels, Script, Unit, case
from benchmarks.command import main
from benchmarks.measuring import Measured

__all__ = ["SCRIPT"]

TIMES = 5


def enchannel(_: Sequence[Path], module: str, times: int) -> Measured:
    return _importing(module, times)


def peer(_: Sequence[Path], module: str, times: int) -> Measured:
    return _importing(module, times)


def _importing(module: str, times: int) -> Measured:
    """Of a fresh interpreter that imports it and one that does not, the difference."""
    _seconds(f"import {module}")  # once, to have it compiled
    pairs = [(_seconds(f"import {module}"), _seconds("pass")) for _ in range(times)]
    with_it, without = zip(*pairs, strict=True)
    return {"wall": median(with_it) - median(without)}


def _seconds(code: str) -> float:
    began = perf_counter()
    subprocess.run([sys.executable, "-P", "-c", code], check=True, env=_compiles())
    return perf_counter() - began


def _compiles() -> dict[str, str]:
    """The environment, less what keeps Python from keeping what it compiled."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def _of(side: str, module: str) -> Case:
    return case(side, Kernels(), module=module, times=TIMES)


SCRIPT = Script(
    name="importing",
    method=(
        f"a fresh interpreter that imports the package less one that does `pass`, {TIMES} times in turns."
    ),
    sides={"enchannel": enchannel, "peer": peer},
    figures=(
        Figure(
            title="`import enchannel`",
            peer="`import jupyter_client`",
            ours=_of("enchannel", "enchannel"),
            theirs=_of("peer", "jupyter_client"),
            unit=Unit.MILLISECONDS,
            goal=Goal.WITHIN,
            reach=0.7,
            aim=0.4,
        ),
        Figure(
            title="`import enchannel, enchannel_zmq`",
            peer="`import zmq, reactivex, msgspec`",
            ours=_of("enchannel", "enchannel, enchannel_zmq"),
            theirs=_of("peer", "zmq, reactivex, msgspec"),
            unit=Unit.MILLISECONDS,
            goal=Goal.WITHIN,
        ),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
