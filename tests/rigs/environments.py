"""Virtual environments for the real programs of the tests, each with packages of its own."""

import os
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

BIN, EXE = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")


def program(home: Path, name: str) -> Path:
    """Where the environment at ``home`` has a program."""
    return home / BIN / f"{name}{EXE}"


def install(home: Path, requirements: Sequence[str]) -> None:
    """Create the environment at ``home``, unless it is there with just these requirements."""
    python = program(home, "python")
    stamp = home / "requirements.txt"
    wanted = "\n".join(requirements)
    # A python whose interpreter is gone is a dangling link: it does not exist.
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    venv.create(home, clear=True, symlinks=os.name != "nt")
    # Most of what is installed is never imported: what is, is compiled then.
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet")
    subprocess.run([*pip, "--no-compile", *requirements], check=True)
    stamp.write_text(wanted)


@contextmanager
def locked(root: Path) -> Iterator[Path]:
    """Create ``root``, and let nobody else install there meanwhile."""
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        yield root
