"""A kernel that runs already: most of what the command does can be seen with it, in a third of the time."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import enchannel as ec


@pytest.fixture(scope="module")
def running() -> Iterator[ec.Kernel]:
    """A kernel that the command can connect to."""
    with ec.launch() as kernel:
        yield kernel


class SlowKernel:
    """A kernelspec whose kernel does not start before it is let."""

    def __init__(self, directory: Path) -> None:
        self.jupyter_path = str(directory)
        self._gate = directory / "gate"
        os.mkfifo(self._gate)
        wait = f"open({str(self._gate)!r}).read()"
        start = "from ipykernel.kernelapp import launch_new_instance as start; start()"
        spec = {
            "argv": [sys.executable, "-c", f"{wait}; {start}", "-f", "{connection_file}"],
            "display_name": "Slow",
            "language": "python",
        }
        path = directory / "kernels" / "slow" / "kernel.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(spec))

    def let_start(self) -> None:
        """Waits until its process is there."""
        with open(self._gate, "w"):
            pass


@pytest.fixture
def slow_kernel(tmp_path: Path) -> SlowKernel:
    """See SlowKernel."""
    return SlowKernel(tmp_path)
