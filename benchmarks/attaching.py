"""Connecting to a kernel that runs: how long until nothing is lost any more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import enchannel as ec
from benchmarks.case import Figure, Goal, Kernels, Script, Unit, case
from benchmarks.command import main
from benchmarks.measuring import Measured

__all__ = ["SCRIPT"]

REAL = Kernels(real=True)
AGAIN = 5


def enchannel(kernels: Sequence[Path]) -> Measured:
    import enchannel_zmq  # noqa: F401  # importing is another figure

    first, *others = [_attach(kernels[0]) for _ in range(1 + AGAIN)]
    return {"first": first, "again": sorted(others)[AGAIN // 2]}


def _attach(path: Path) -> float:
    began = perf_counter()
    kernel = ec.connect(path)
    attached = perf_counter() - began
    kernel.close()
    return attached


def jupyter_client(kernels: Sequence[Path]) -> Measured:
    from benchmarks.peers import jupyter

    first, *others = [jupyter.attach(kernels[0]) for _ in range(1 + AGAIN)]
    return {"first": first, "again": sorted(others)[AGAIN // 2]}


OURS, THEIRS = case("enchannel", REAL), case("jupyter_client", REAL)

SCRIPT = Script(
    name="attaching",
    method=(
        "to an ipykernel that idles, with everything imported: `ec.connect(file)`, which returns when "
        "nothing is lost any more, beside `load_connection_file`, `start_channels` and "
        f"`wait_for_ready`; the first time in a process, and the median of {AGAIN} more."
    ),
    sides={"enchannel": enchannel, "jupyter_client": jupyter_client},
    figures=(
        Figure(
            title="attach to a running ipykernel",
            peer="jupyter_client, blocking",
            ours=OURS,
            theirs=THEIRS,
            unit=Unit.MILLISECONDS,
            value="first",
            goal=Goal.WITHIN,
            reach=0.1,
            aim=0.02,
        ),
        Figure(
            title="attach to it again",
            peer="jupyter_client, blocking",
            ours=OURS,
            theirs=THEIRS,
            unit=Unit.MILLISECONDS,
            value="again",
            goal=Goal.WITHIN,
        ),
    ),
)

if __name__ == "__main__":
    main(SCRIPT)
