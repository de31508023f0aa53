"""Notebook runs with nbclient, in a new kernel or in a running one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from nbclient import NotebookClient

from benchmarks.measuring import Lap

__all__ = ["run"]


def run(notebook: Any, path: Path | None) -> Lap:
    """Run all cells of a NotebookNode, and time them from sending the first to the end of the last."""
    return asyncio.run(_run(notebook, path))


async def _run(notebook: Any, path: Path | None) -> Lap:
    # With IPython's history in a file, like our kernels; nbclient disables it by default.
    client = NotebookClient(notebook, kernel_name="python3", ipython_hist_file="")
    lap = Lap()
    async with client.async_setup_kernel() if path is None else _connected(client, path):
        lap.start()
        for index, cell in enumerate(notebook.cells):
            await client.async_execute_cell(cell, index)
        lap.stop()
    return lap


@asynccontextmanager
async def _connected(client: NotebookClient, path: Path) -> AsyncIterator[None]:
    kernel = AsyncKernelClient(connection_file=str(path))
    kernel.load_connection_file()
    kernel.start_channels()
    await kernel.wait_for_ready(timeout=10)
    client.kc = kernel
    try:
        yield
    finally:
        kernel.stop_channels()
