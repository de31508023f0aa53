"""jupyter-kernel-client, as its callers use it, with its default framing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.frames import displays
from benchmarks.measuring import DEADLINE, Lap, Measured, Tally
from benchmarks.servers import read_served
from benchmarks.trips import Trips

__all__ = ["by_hand", "flood", "in_turn", "round_trips"]

Reply = Mapping[str, Any]


@contextmanager
def _connected(path: Path) -> Iterator[Any]:
    kernel = read_served(path)
    # It has no types, and is not there where types are checked.
    client = import_module("jupyter_kernel_client").JupyterKernelClient
    with client(server_url=kernel.server, token=kernel.token, kernel_id=kernel.id) as connected:
        connected.execute("")
        yield connected


def flood(path: Path, warm: int, messages: int, size: int) -> Measured:
    """What a message costs until its `output_hook`."""
    with _connected(path) as client:
        for count in (warm, messages):
            tally = Tally(count)
            client.execute_interactive(
                displays(count, size),
                silent=True,
                timeout=DEADLINE,
                output_hook=partial(_hear, tally),
            )
    return tally.told()


def _hear(tally: Tally, message: Reply) -> None:
    content = message["content"]
    shown = message["header"]["msg_type"] == "display_data"
    tally.hear(content["data"]["text/plain"] if shown else content["execution_state"])


def round_trips(path: Path, trips: Trips) -> Measured:
    """How long an empty execute takes."""
    with _connected(path) as client:
        return trips.timed(lambda: client.execute_interactive("", silent=True, output_hook=_ignore))


def _ignore(message: Reply) -> None:
    pass


def in_turn(path: Path, times: int) -> Measured:
    """As its `execute` does it: the next when the last is complete."""
    lap = Lap()
    with _connected(path) as client:
        lap.start()
        for _ in range(times):
            if not client.execute("1")["outputs"]:
                raise RuntimeError("there is no result")
        lap.stop()
    return lap.each(1)


def by_hand(path: Path, times: int) -> Measured:
    """Its lower client, which sends without waiting; who called matches what comes."""
    kernel, lap = read_served(path), Lap()
    lower = import_module("jupyter_kernel_client").KernelWebSocketClient
    client = lower(endpoint=kernel.channels, token=kernel.token)
    client.start_channels()
    try:
        client.wait_for_ready(timeout=DEADLINE)
        lap.start()
        asked = {client.execute("1") for _ in range(times)}
        without_result, without_reply, busy = set(asked), set(asked), set(asked)
        while without_result or busy:
            message = client.get_iopub_msg(timeout=DEADLINE)
            parent = message["parent_header"].get("msg_id")
            if message["msg_type"] == "execute_result":
                without_result.discard(parent)
            elif message["content"].get("execution_state") == "idle":
                busy.discard(parent)
        while without_reply:
            message = client.get_shell_msg(timeout=DEADLINE)
            without_reply.discard(message["parent_header"].get("msg_id"))
        lap.stop()
    finally:
        client.stop_channels()
    return lap.each(1)
