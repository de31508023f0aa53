"""Another revision of the code, beside this one."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rounds import HERE, Tree

__all__ = ["checked_out"]

PACKAGES = ("enchannel", "enchannel_websocket", "enchannel_zmq")


@contextmanager
def checked_out(revision: str) -> Iterator[Tree]:
    """The packages of a revision, with the benchmarks of today, which it may not have."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        worktree, path = Path(directory, "worktree"), Path(directory, "tree")
        _git("worktree", "add", "--detach", str(worktree), revision)
        try:
            path.mkdir()
            (path / "benchmarks").symlink_to(HERE.path / "benchmarks")
            for package in PACKAGES:
                (path / package).symlink_to(worktree / package)
            yield Tree(revision, path)
        finally:
            _git("worktree", "remove", "--force", str(worktree))


def _git(*arguments: str) -> None:
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607  # the user's own git
        cwd=HERE.path,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
