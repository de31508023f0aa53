"""The threads of the library, on which code of users must not block."""

from __future__ import annotations

import threading
from enum import Enum, auto

__all__ = ["ThreadRole", "is_shared_thread", "mark_io_thread", "mark_thread", "role_of_thread"]


class ThreadRole(Enum):
    """The role of a thread: it calls the subscribers of one kernel, or serves all kernels."""

    DELIVERY = auto()
    SHARED = auto()


_this_thread = threading.local()


def mark_thread(role: ThreadRole) -> None:
    """Mark the current thread as one of the library."""
    _this_thread.role = role


def mark_io_thread() -> None:
    """Mark the current thread as one that carries the messages of several kernels.

    Finalizers may run on any thread. There, calls that block raise WouldDeadlock, and ``close`` and
    ``detach`` of a kernel continue on another thread.
    """
    mark_thread(ThreadRole.SHARED)


def role_of_thread() -> ThreadRole | None:
    """Return the role of the current thread; None for a thread of the user."""
    return getattr(_this_thread, "role", None)


def is_shared_thread() -> bool:
    """Return True if all kernels would wait while the current thread is blocked."""
    return role_of_thread() is ThreadRole.SHARED
