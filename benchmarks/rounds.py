"""Measure cases in turns, each in a separate process, with the kernels in further processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, cast

from benchmarks.case import Case, Kernels, Script
from benchmarks.measuring import Measured, Skipped
from benchmarks.servers import ServerFailed, served

__all__ = ["WORKING_TREE", "Sample", "Samples", "Tree", "measure"]

ROUND_TIMEOUT = 600.0  # for one side of one round
FAKE_KERNEL_EXIT_TIMEOUT = 10.0


class SideFailed(Exception):
    """The process of a side or a kernel failed; the text contains its error."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory with the packages to measure and the benchmarks."""

    name: str
    path: Path

    def environment(self) -> dict[str, str]:
        """Return an environment in which Python prefers this tree to installed packages."""
        return {**os.environ, "PYTHONPATH": str(self.path), "PYTHONHASHSEED": "0"}


WORKING_TREE = Tree("the working tree", Path(__file__).parents[1])


@dataclass(slots=True)
class Sample:
    """The measurements of one case, one per round."""

    rounds: list[Measured] = field(default_factory=list)
    skipped: str = ""

    def median(self, value: str) -> float:
        return median(self.all(value))

    def all(self, value: str) -> list[float]:
        return [measured[value] for measured in self.rounds]


Samples = dict[tuple[Tree, Case], Sample]


def measure(
    script: Script, cases: Sequence[Case], rounds: int, trees: Sequence[Tree] = (WORKING_TREE,)
) -> Samples:
    """Measure all cases on all trees, and reverse their order in every second round."""
    samples: Samples = {(tree, case): Sample() for case in cases for tree in trees}
    for number in range(rounds):
        turns = list(samples.items())
        for (tree, case), sample in turns if number % 2 == 0 else reversed(turns):
            if sample.skipped:
                continue
            _progress(f"{script.name}, round {number + 1} of {rounds}: {case}, {tree.name}")
            try:
                sample.rounds.append(_measured(script, case, tree))
            except Skipped as reason:
                sample.skipped = str(reason)
            except SideFailed as failure:  # keep the other results
                print(failure, file=sys.stderr)
                sample.skipped = f"failed: {str(failure).splitlines()[-1]}"
    _progress("")
    return samples


def _measured(script: Script, case: Case, tree: Tree) -> Measured:
    with running_kernels(case.kernels) as files:
        command = [
            *(sys.executable, "-P", "-m", f"benchmarks.{script.name}"),
            *("--side", case.side, "--numbers", json.dumps(dict(case.numbers))),
            *("--kernels", *map(str, files)),
        ]
        done = subprocess.run(
            command,
            env=tree.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ROUND_TIMEOUT,
        )
    if done.returncode:
        raise SideFailed(f"{script.name}: {case}, {tree.name}, failed:\n{done.stderr.strip()}")
    result = json.loads(done.stdout.splitlines()[-1])
    if "skipped" in result:
        raise Skipped(result["skipped"])
    measured: Measured = result
    return measured


@contextmanager
def running_kernels(kernels: Kernels) -> Iterator[list[Path]]:
    """Start kernels for the block, and return their connection files."""
    with ExitStack() as stack:
        files: list[Path] = []
        for count in (*[1] * kernels.fake, *[kernels.idle] * bool(kernels.idle)):
            directory = stack.enter_context(_directory())
            stack.enter_context(_fake(directory, count, kernels.sndhwm))
            files += sorted(directory.glob("*.json"))
        if kernels.real:
            directory = stack.enter_context(_directory())
            files.append(stack.enter_context(_real(directory)))
        if kernels.served:
            directory = stack.enter_context(_directory())
            files.append(stack.enter_context(_served(directory)))
        yield files


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        yield Path(directory)


@contextmanager
def _fake(directory: Path, count: int, sndhwm: int) -> Iterator[None]:
    """Run fake kernels for the block; they exit when stdin closes, also after an interrupted run."""
    command = [
        *(sys.executable, "-P", "-m", "benchmarks.fake_kernel", str(directory)),
        *("--kernels", str(count), "--sndhwm", str(sndhwm)),
    ]
    with subprocess.Popen(
        command,
        env=WORKING_TREE.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        stdin, stdout, stderr = _pipes(process)
        line = stdout.readline().strip()
        if line != "ready":
            error = stderr.read()
            if "Skipped" in error:
                raise Skipped(error.splitlines()[-1].partition(": ")[2])
            raise SideFailed(f"the fake kernel did not start:\n{error.strip()}")
        try:
            yield
        finally:
            stdin.close()
            try:
                process.wait(FAKE_KERNEL_EXIT_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def _real(directory: Path) -> Iterator[Path]:
    from jupyter_client.manager import KernelManager

    manager = KernelManager(connection_file=str(directory / "kernel-real.json"))
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        client.stop_channels()
        yield Path(manager.connection_file)
    finally:
        manager.shutdown_kernel(now=True)


@contextmanager
def _served(directory: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            path = stack.enter_context(served(directory))
        except ServerFailed as failure:
            raise SideFailed(str(failure)) from None
        yield path


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str], IO[str]]:
    pipes = process.stdin, process.stdout, process.stderr
    return cast("tuple[IO[str], IO[str], IO[str]]", pipes)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
