"""Fixtures for tests of the command line."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import enchannel as ec


@pytest.fixture(scope="module")
def running() -> Iterator[ec.Kernel]:
    """Start a kernel for all tests of a module, which takes a third of the time."""
    with ec.launch() as kernel:
        yield kernel


class SlowKernel:
    """A kernelspec whose kernel waits for ``let_start``."""

    def __init__(self, directory: Path) -> None:
        self.jupyter_path = str(directory)
        self._gate = directory / "gate"
        if sys.platform == "win32":
            pytest.skip("named pipes are files on POSIX only")
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
        """Wait for the kernel's process, and let it go on."""
        with open(self._gate, "w"):
            pass


@pytest.fixture
def slow_kernel(tmp_path: Path) -> SlowKernel:
    """Return a new SlowKernel."""
    return SlowKernel(tmp_path)
