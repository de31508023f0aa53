"""Hooks that run in a forked child and at the end of the process, registered in one place."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["call_at_exit", "call_in_forked_child", "ensure_exit_hooks"]

log = logging.getLogger("enchannel")

_in_child: list[Callable[[], None]] = []
_at_exit: list[Callable[[], None]] = []
# Runs the exit hooks in a child of multiprocessing.
_finalizer: Any = None


def call_in_forked_child(hook: Callable[[], None]) -> None:
    """Call a hook in every forked child, on its only thread, in the order of registration.

    A lock may be held by a thread that does not exist in the child: a hook replaces locks and takes none.
    """
    _in_child.append(hook)


def call_at_exit(hook: Callable[[], None]) -> None:
    """Call a hook at the end of the interpreter; the one that was registered last is called first.

    A hook must be idempotent. Call ``ensure_exit_hooks`` before acquiring anything that it releases.
    """
    _at_exit.append(hook)


def ensure_exit_hooks() -> None:
    """Make the exit hooks run in a child of ``multiprocessing`` as well, which skips ``atexit``.

    Not done on import, since multiprocessing forgets all finalizers before the child runs its target.
    """
    global _finalizer
    if _finalizer is not None and _finalizer.still_active():
        return
    # Not imported here: a child of multiprocessing has imported it.
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        _finalizer = Finalize(None, _run_at_exit, exitpriority=0)


def _run_in_child() -> None:
    global _finalizer
    _finalizer = None
    _run(_in_child)


def _run_at_exit() -> None:
    _run(reversed(_at_exit))


def _run(hooks: Iterable[Callable[[], None]]) -> None:
    for hook in hooks:
        try:
            hook()
        # A hook that fails must not keep the others from running.
        except Exception:
            log.exception("%s failed", hook.__qualname__)


atexit.register(_run_at_exit)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_run_in_child)
