"""The page of the documentation that the table is on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.case import Script
from benchmarks.rounds import Samples
from benchmarks.table import markdown, rows

__all__ = ["report"]

LIBRARIES = (
    *("reactivex", "msgspec", "pyzmq", "websockets", "jupyter_client", "ipykernel"),
    *("jupyter_server", "jupyter-kernel-client", "nbclient"),
)
PAGE = """\
# Performance

Written by `tox -e bench -- --write`. Read the ratios: times move with the machine, this one was
{machine}, with {software}.

{table}

Each side of a figure is a process of its own, and so are the kernel that it talks to over TCP on the
loopback interface, and the server between them where there is one; the sides take turns, in {rounds}
rounds. Times are medians, in brackets how far the rounds were from it; a ratio is one of medians.

## How each is measured

{methods}

## To repeat it

```sh
tox -e bench                         # all figures
tox -e bench -- flood round_trip     # some of them
tox -e bench -- --compare main       # our own sides, on this tree and on another revision
python -m benchmarks.flood --help    # a script by itself
```

The fake kernel (`benchmarks/fake_kernel.py`) builds and signs a flood before it sends the first message
of it. On two cores it sends some 150,000 messages of 200 B a second, which is close to what the floor
takes: there the row of CPU time tells more than that of the wall.
"""


def report(measured: Sequence[tuple[Script, Samples]], rounds: int) -> str:
    """The page."""
    table = markdown(row for script, samples in measured for row in rows(script, samples))
    methods = "\n".join(f"- `{script.name}`: {script.method}" for script, _ in measured)
    return PAGE.format(
        machine=_machine(), software=_software(), table=table, rounds=rounds, methods=methods
    )


def _machine() -> str:
    return f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.machine()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _software() -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"{platform.python_implementation()} {platform.python_version()}, {libraries}"
