"""File descriptors: libzmq ends the process when there are none left, so we look before."""

from __future__ import annotations

import os

from enchannel.errors import ConnectionFailed

__all__ = ["demand_descriptors"]

FOR_A_KERNEL = 40  # 20 sockets and monitors, and some for what happens meanwhile


def demand_descriptors() -> None:
    """Raise ConnectionFailed if a connection could use up the process's descriptors."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return
    used = _used(limit)
    if used + FOR_A_KERNEL > limit:
        raise ConnectionFailed(
            f"this process has {used} of {limit} file descriptors in use, and a kernel takes "
            f"about {FOR_A_KERNEL}: close some kernels, or raise the limit (ulimit -n)"
        )


def _used(limit: int) -> int:
    """How many are in use; or, where the system does not tell, the lowest that is not."""
    try:
        # Linux since 6.2 counts them by itself
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:
        pass
    try:
        lowest = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return limit
    os.close(lowest)
    return lowest
