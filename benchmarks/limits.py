"""The limit of open files of this process."""

import sys

from benchmarks.measuring import Skipped

__all__ = ["raise_descriptor_limit"]


def raise_descriptor_limit(needed: int) -> None:
    """Allow this process a number of open files. Windows has no such limit.

    Raises:
        Skipped: the hard limit is lower.
    """
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise Skipped(f"this requires {needed} open files; the hard limit is {hard}")
        if soft != resource.RLIM_INFINITY and soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
