"""jupyter-kernel-client, in its usual form, with its default framing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.frames import displays
from benchmarks.measuring import SIDE_TIMEOUT, Lap, Measured, Tally
from benchmarks.request_series import RequestSeries
from benchmarks.servers import read_served

__all__ = ["by_hand", "flood", "in_turn", "round_trips"]

Reply = Mapping[str, Any]


@contextmanager
def _connected(path: Path) -> Iterator[Any]:
    kernel = read_served(path)
    # It has no type annotations, and is not installed where types are checked.
    client = import_module("jupyter_kernel_client").JupyterKernelClient
    with client(server_url=kernel.server, token=kernel.token, kernel_id=kernel.id) as connected:
        connected.execute("")
        yield connected


def flood(path: Path, warm_up: int, messages: int, size: int) -> Measured:
    """Return the times per message of a flood, up to ``output_hook``."""
    with _connected(path) as client:
        for count in (warm_up, messages):
            tally = Tally(count)
            client.execute_interactive(
                displays(count, size),
                silent=True,
                timeout=SIDE_TIMEOUT,
                output_hook=partial(_count, tally),
            )
    return tally.result()


def _count(tally: Tally, message: Reply) -> None:
    content = message["content"]
    is_display = message["header"]["msg_type"] == "display_data"
    tally.on_text(content["data"]["text/plain"] if is_display else content["execution_state"])


def round_trips(path: Path, series: RequestSeries) -> Measured:
    """Return the median time of an empty execute request."""
    with _connected(path) as client:
        return series.timed(
            lambda: client.execute_interactive("", silent=True, output_hook=_ignore)
        )


def _ignore(message: Reply) -> None:
    pass


def in_turn(path: Path, times: int) -> Measured:
    """Measure its ``execute``, which waits for each request to complete."""
    lap = Lap()
    with _connected(path) as client:
        lap.start()
        for _ in range(times):
            if not client.execute("1")["outputs"]:
                raise RuntimeError("the execution has no result")
        lap.stop()
    return lap.per_item(1)


def by_hand(path: Path, times: int) -> Measured:
    """Measure its low-level client, which sends without waiting; messages are matched here."""
    kernel, lap = read_served(path), Lap()
    lower = import_module("jupyter_kernel_client").KernelWebSocketClient
    client = lower(endpoint=kernel.channels, token=kernel.token)
    client.start_channels()
    try:
        client.wait_for_ready(timeout=SIDE_TIMEOUT)
        lap.start()
        sent = {client.execute("1") for _ in range(times)}
        without_result, without_reply, busy = set(sent), set(sent), set(sent)
        while without_result or busy:
            message = client.get_iopub_msg(timeout=SIDE_TIMEOUT)
            parent = message["parent_header"].get("msg_id")
            if message["msg_type"] == "execute_result":
                without_result.discard(parent)
            elif message["content"].get("execution_state") == "idle":
                busy.discard(parent)
        while without_reply:
            message = client.get_shell_msg(timeout=SIDE_TIMEOUT)
            without_reply.discard(message["parent_header"].get("msg_id"))
        lap.stop()
    finally:
        client.stop_channels()
    return lap.per_item(1)
