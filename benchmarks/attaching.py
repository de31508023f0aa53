"""The time to connect to a running kernel, until no message can be missed."""

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
AGAIN_TIMES = 5


def enchannel(kernels: Sequence[Path]) -> Measured:
    # The import is measured by another script.
    import enchannel_zmq  # noqa: F401

    first, *others = [_attach(kernels[0]) for _ in range(1 + AGAIN_TIMES)]
    return {"first": first, "again": sorted(others)[AGAIN_TIMES // 2]}


def _attach(path: Path) -> float:
    started = perf_counter()
    kernel = ec.connect(path)
    attached = perf_counter() - started
    kernel.close()
    return attached


def jupyter_client(kernels: Sequence[Path]) -> Measured:
    from benchmarks.peers import jupyter

    first, *others = [jupyter.attach(kernels[0]) for _ in range(1 + AGAIN_TIMES)]
    return {"first": first, "again": sorted(others)[AGAIN_TIMES // 2]}


OURS, THEIRS = case("enchannel", REAL), case("jupyter_client", REAL)

SCRIPT = Script(
    name="attaching",
    method=(
        "connects to an idle ipykernel, with everything imported: `ec.connect(file)`, which returns when "
        "no message can be missed, beside `load_connection_file`, `start_channels` and `wait_for_ready`; "
        f"the first time in a process, and the median of {AGAIN_TIMES} more."
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
            required=0.1,
            target=0.02,
        ),
        Figure(
            title="attach again",
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
