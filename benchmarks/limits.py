"""What this machine lets a process have."""

from benchmarks.measuring import Skipped

__all__ = ["raise_descriptors"]


def raise_descriptors(needed: int) -> None:
    """Let this process have that many open files.

    Raises:
        Skipped: it may not.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Skipped(f"it takes {needed} open files, and this machine allows {hard}")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
