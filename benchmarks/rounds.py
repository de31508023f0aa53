"""Cases measured in turns, each in a process of its own, with kernels in processes of their own."""

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

__all__ = ["HERE", "Sample", "Samples", "Tree", "measure"]

PATIENCE = 600  # seconds for one side of one round


class SideFailed(Exception):
    """A process ended with an error, which the text has."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Where the code under measurement is: a folder with our packages and benchmarks."""

    name: str
    path: Path

    def environment(self) -> dict[str, str]:
        """In which Python takes it before everything that is installed."""
        return {**os.environ, "PYTHONPATH": str(self.path), "PYTHONHASHSEED": "0"}


HERE = Tree("the working tree", Path(__file__).parents[1])


@dataclass(slots=True)
class Sample:
    """What one case measured, round by round."""

    rounds: list[Measured] = field(default_factory=list)
    skipped: str = ""

    def median(self, value: str) -> float:
        return median(self.all(value))

    def all(self, value: str) -> list[float]:
        return [measured[value] for measured in self.rounds]


Samples = dict[tuple[Tree, Case], Sample]


def measure(
    script: Script, cases: Sequence[Case], rounds: int, trees: Sequence[Tree] = (HERE,)
) -> Samples:
    """Measure all cases on all trees, round by round, every other round backwards."""
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
            except SideFailed as failure:  # the others go on: they may have taken long already
                print(failure, file=sys.stderr)
                sample.skipped = f"failed: {str(failure).splitlines()[-1]}"
    _progress("")
    return samples


def _measured(script: Script, case: Case, tree: Tree) -> Measured:
    with started(case.kernels) as files:
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
            timeout=PATIENCE,
        )
    if done.returncode:
        raise SideFailed(f"{script.name}: {case}, {tree.name}, failed:\n{done.stderr.strip()}")
    told = json.loads(done.stdout.splitlines()[-1])
    if "skipped" in told:
        raise Skipped(told["skipped"])
    measured: Measured = told
    return measured


@contextmanager
def started(kernels: Kernels) -> Iterator[list[Path]]:
    """Kernels that run until the end of the block; their connection files."""
    with ExitStack() as stack:
        files: list[Path] = []
        for count in (*[1] * kernels.fake, *[kernels.quiet] * bool(kernels.quiet)):
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
    """It ends with its stdin, so that none is left behind by a run that was interrupted."""
    command = [
        *(sys.executable, "-P", "-m", "benchmarks.fake_kernel", str(directory)),
        *("--kernels", str(count), "--sndhwm", str(sndhwm)),
    ]
    with subprocess.Popen(
        command,
        env=HERE.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        stdin, stdout, stderr = _pipes(process)
        said = stdout.readline().strip()
        if said != "ready":
            error = stderr.read()
            if "Skipped" in error:
                raise Skipped(error.splitlines()[-1].partition(": ")[2])
            raise SideFailed(f"the fake kernel did not start:\n{error.strip()}")
        try:
            yield
        finally:
            stdin.close()
            try:
                process.wait(10)
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
