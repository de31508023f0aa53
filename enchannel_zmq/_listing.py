"""Listing the kernels and kernelspecs of this machine."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from enchannel import ConnectionInfo, KernelModel, KernelspecModel
from enchannel.errors import ConnectionFailed, MissingDependency
from enchannel_zmq._connection_file import connection_files, kernel_id_of, read_connection_file
from enchannel_zmq._heartbeat_probe import PROBE_TIMEOUT, is_alive

__all__ = ["installed_kernelspecs", "local_kernels"]

log = logging.getLogger("enchannel.zmq")

MAX_PARALLEL_PROBES = 32


def local_kernels(timeout: float) -> tuple[KernelModel, ...]:
    """Return the kernels that have a connection file, the newest first.

    A file that cannot be read is logged and left out.

    Args:
        timeout: Seconds within which a kernel must answer; 0.3 at most.
    """
    files: list[tuple[Path, ConnectionInfo]] = []
    for path in connection_files():
        try:
            files.append((path, read_connection_file(path)))
        except ConnectionFailed as error:
            log.warning("%s", error)
    probe = partial(is_alive, timeout=min(timeout, PROBE_TIMEOUT))
    with ThreadPoolExecutor(MAX_PARALLEL_PROBES, thread_name_prefix="enchannel probe") as pool:
        answers = pool.map(probe, [info for _, info in files])
    return tuple(
        KernelModel(
            id=kernel_id_of(path),
            name=info.kernel_name,
            state="alive" if answered else "dead",
            target=str(path),
        )
        for (path, info), answered in zip(files, answers, strict=True)
    )


def installed_kernelspecs() -> tuple[KernelspecModel, ...]:
    """Return the installed kernelspecs by name, also those that cannot be used.

    Raises:
        EnchannelError: jupyter_client cannot find kernelspecs.
        MissingDependency: jupyter_client is not installed.
    """
    try:
        from enchannel_zmq._kernelspecs import read_kernelspecs
    except ImportError as error:
        raise MissingDependency(
            f'listing kernelspecs requires {error.name}; pip install "enchannel[launch]"'
        ) from error
    return read_kernelspecs()
