"""The page docs/performance.md, with its table."""

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

This page is written by `tox -e bench -- --write`. Compare the ratios, since times depend on the
machine. This one had {machine}, with {software}.

{table}

Each side of a figure runs in a separate process, and so do its kernel, connected over TCP on the
loopback interface, and the server between them, if any. The sides take turns, in {rounds} rounds. Times
are medians, with the deviations of the lowest and the highest round in brackets. Ratios are ratios of
medians.

## Methods

{methods}

## Run the benchmarks

```sh
tox -e bench                         # all scripts
tox -e bench -- flood round_trip     # some of them
tox -e bench -- --compare main       # this tree beside another revision
python -m benchmarks.flood --help    # one script
```

The fake kernel (`benchmarks/fake_kernel.py`) builds and signs a flood before it sends the first
message. On two cores it sends some 150,000 messages of 200 B per second, which is close to the rate of
the minimal client. There the row with CPU time is more meaningful than the one with wall time.
"""


def report(measured: Sequence[tuple[Script, Samples]], rounds: int) -> str:
    """Return the page."""
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
