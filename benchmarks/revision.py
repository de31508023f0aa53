"""A checkout of another revision of the packages."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rounds import WORKING_TREE, Tree

__all__ = ["checked_out"]

PACKAGES = (
    "commutable",
    "enchannel",
    "enchannel_socketio",
    "enchannel_websocket",
    "enchannel_zmq",
)


@contextmanager
def checked_out(revision: str) -> Iterator[Tree]:
    """Check out the packages of a revision, beside the current benchmarks, for the block."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        worktree, path = Path(directory, "worktree"), Path(directory, "tree")
        _git("worktree", "add", "--detach", str(worktree), revision)
        try:
            path.mkdir()
            (path / "benchmarks").symlink_to(WORKING_TREE.path / "benchmarks")
            for package in PACKAGES:
                if (worktree / package).exists():
                    (path / package).symlink_to(worktree / package)
            yield Tree(revision, path)
        finally:
            _git("worktree", "remove", "--force", str(worktree))


def _git(*arguments: str) -> None:
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607
        cwd=WORKING_TREE.path,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
