"""Runs the command in pipes, as a shell script does, or in this process."""

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import IO

import pytest

from enchannel.__main__ import main
from tests.rigs import DEADLINE, eventually
from tests.rigs.threads import Thread

COMMAND = (sys.executable, "-m", "enchannel")


def enchannel(
    *arguments: str, stdin: str = "", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends; fail if it neither ends nor prints anything until the deadline."""
    received = bytearray(), bytearray()
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environ or {})},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        streams = process.stdout, process.stderr
        threads = [
            *(Thread(partial(_read, *pair)) for pair in zip(streams, received, strict=True)),
            Thread(partial(_write, process.stdin, stdin.encode())),
        ]
        has_ended = eventually(
            lambda: process.poll() is not None and not any(map(Thread.is_alive, threads)),
            progress=lambda: [len(data) for data in received],
        )
        if not has_ended:
            process.kill()
    # In text mode, subprocess would convert carriage returns to newlines.
    out, err = (data.decode() for data in received)
    assert has_ended, (
        f"{arguments} printed nothing for {DEADLINE:g} s, after {out[-500:]}{err[-500:]}"
    )
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def refused(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Call the command in this process, for one of many errors that it reports before it runs anything.

    A process would take ten times as long. Some errors of each command are tested in one all the same.
    """
    stdin, out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        exit_code = main(arguments)
    texts = []
    for stream in (out, err):
        stream.seek(0)
        texts.append(stream.read())
    assert exit_code != 0, f"{arguments} succeeded"
    return subprocess.CompletedProcess(arguments, int(exit_code), *texts)


def _read(stream: IO[bytes], received: bytearray) -> None:
    while data := os.read(stream.fileno(), 65_536):
        received += data


def _write(stream: IO[bytes], data: bytes) -> None:
    # The command may end before it has read everything.
    with suppress(BrokenPipeError), stream:
        stream.write(data)
