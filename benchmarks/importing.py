"""The time to import the package."""

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

IMPORT_TIMES = 5


def enchannel(_: Sequence[Path], module: str, times: int) -> Measured:
    return _importing(module, times)


def peer(_: Sequence[Path], module: str, times: int) -> Measured:
    return _importing(module, times)


def _importing(module: str, times: int) -> Measured:
    """Return the difference between an interpreter that imports a module and one that does not."""
    _seconds(f"import {module}")  # compile it
    pairs = [(_seconds(f"import {module}"), _seconds("pass")) for _ in range(times)]
    with_it, without = zip(*pairs, strict=True)
    return {"wall": median(with_it) - median(without)}


def _seconds(code: str) -> float:
    started = perf_counter()
    subprocess.run([sys.executable, "-P", "-c", code], check=True, env=_environment())
    return perf_counter() - started


def _environment() -> dict[str, str]:
    """Return the environment, with the bytecode cache enabled."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def _of(side: str, module: str) -> Case:
    return case(side, Kernels(), module=module, times=IMPORT_TIMES)


SCRIPT = Script(
    name="importing",
    method=(
        "the time of a new interpreter that imports the package, minus that of one that runs `pass`; the "
        f"median of {IMPORT_TIMES}, in turns."
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
            required=0.7,
            target=0.4,
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
