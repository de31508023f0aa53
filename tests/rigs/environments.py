"""Virtual environments for the programs that the tests run, one for each program."""

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
    """Return the path of a program in the environment at ``home``."""
    return home / BIN / f"{name}{EXE}"


def install(home: Path, requirements: Sequence[str], unwanted: Sequence[str] = ()) -> None:
    """Create the environment at ``home``, unless it exists with exactly these requirements.

    Args:
        home: The directory of the environment.
        requirements: The distributions to install, as pip expects them.
        unwanted: The distributions to uninstall, though an installed one requires them.
    """
    python = program(home, "python")
    stamp = home / "requirements.txt"
    wanted = "\n".join((*requirements, *(f"# without {name}" for name in unwanted)))
    # If the interpreter was removed, `python` is a dangling link, and does not exist.
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    venv.create(home, clear=True, symlinks=os.name != "nt")
    # Most modules are never imported; the others are compiled at their first import.
    pip = (sys.executable, "-m", "pip", "--quiet", "--python", str(python))
    subprocess.run([*pip, "install", "--no-compile", *requirements], check=True)
    if unwanted:
        subprocess.run([*pip, "uninstall", "--yes", *unwanted], check=True)
    stamp.write_text(wanted)


@contextmanager
def locked(root: Path) -> Iterator[Path]:
    """Create ``root``, and lock it for other processes that install there."""
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        yield root
