"""A check that enough file descriptors are left, since libzmq aborts the process when they run out."""

from __future__ import annotations

import os
import sys

from enchannel.errors import ConnectionFailed

__all__ = ["validate_descriptors"]

# 20 sockets and monitors, and a reserve for other files that the process opens meanwhile.
DESCRIPTORS_PER_KERNEL = 40


def validate_descriptors() -> None:
    """Check that another connection cannot use up the descriptors of the process.

    Raises:
        ConnectionFailed: It could.
    """
    if sys.platform == "win32":  # has no such limit
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return
    used = _count_used(limit)
    if used + DESCRIPTORS_PER_KERNEL > limit:
        raise ConnectionFailed(
            f"connecting failed: {used} of {limit} file descriptors are in use, and a kernel needs about "
            f"{DESCRIPTORS_PER_KERNEL}; close some kernels or raise the limit (ulimit -n)"
        )


def _count_used(limit: int) -> int:
    """Return the number of used descriptors, or the lowest free one if the system does not count them."""
    try:
        # The size of this directory is the number of descriptors on Linux 6.2 or later, and 0 before.
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:
        pass
    try:
        lowest = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return limit
    os.close(lowest)
    return lowest
