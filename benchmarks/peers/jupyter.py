"""The three clients of jupyter_client, in their usual form."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.client import KernelClient
from jupyter_client.threaded import ThreadedKernelClient, ThreadedZMQSocketChannel
from traitlets import Type

from benchmarks.frames import execute_request
from benchmarks.measuring import SIDE_TIMEOUT, Measured, Tally
from benchmarks.request_series import RequestSeries

__all__ = ["attach", "flood", "round_trips"]

WARM_UP_CODE: Final = "flood 1000 200"
Reply = Mapping[str, Any]


def flood(client: str, path: Path, messages: int, size: int) -> Measured:
    """Return the times per message of a flood."""
    return FLOODS[client](path, messages, size)


def round_trips(client: str, path: Path, series: RequestSeries) -> Measured:
    """Return the median time from a request to its reply."""
    return ROUND_TRIPS[client](path, series)


def attach(path: Path) -> float:
    """Return the seconds until a running kernel is ready for requests."""
    started = perf_counter()
    with _blocking(path):
        return perf_counter() - started


def _count(tally: Tally, request_id: str, message: Reply) -> None:
    if message["parent_header"].get("msg_id") == request_id:
        content = message["content"]
        tally.on_text(
            content["text"] if message["msg_type"] == "stream" else content["execution_state"]
        )


# -- blocking ------------------------------------------------------------------------------------------


@contextmanager
def _blocking(path: Path) -> Iterator[BlockingKernelClient]:
    client = BlockingKernelClient(connection_file=str(path))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=SIDE_TIMEOUT)
        yield client
    finally:
        client.stop_channels()


def _flood_blocking(path: Path, messages: int, size: int) -> Measured:
    with _blocking(path) as client:
        for count, code in ((1000, WARM_UP_CODE), (messages, f"flood {messages} {size}")):
            tally = Tally(count)
            request_id = client.execute(code, store_history=False, allow_stdin=False)
            while not tally.finished.is_set():
                _count(tally, request_id, client.get_iopub_msg(timeout=SIDE_TIMEOUT))
    return tally.result()


def _round_trips_blocking(path: Path, series: RequestSeries) -> Measured:
    with _blocking(path) as client:

        def send_and_wait() -> None:
            request_id = _send_request(client, series)
            while (
                client.get_shell_msg(timeout=SIDE_TIMEOUT)["parent_header"]["msg_id"] != request_id
            ):
                pass

        return series.timed(send_and_wait)


def _send_request(client: KernelClient, series: RequestSeries) -> str:
    message = client.session.msg(series.msg_type, series.content)
    client.shell_channel.send(message)
    request_id: str = message["header"]["msg_id"]
    return request_id


# -- asyncio -------------------------------------------------------------------------------------------


async def _asynchronous(path: Path) -> AsyncKernelClient:
    client = AsyncKernelClient(connection_file=str(path))
    client.load_connection_file()
    client.start_channels()
    await client.wait_for_ready(timeout=SIDE_TIMEOUT)
    return client


def _flood_async(path: Path, messages: int, size: int) -> Measured:
    async def measure() -> Measured:
        client = await _asynchronous(path)
        for count, code in ((1000, WARM_UP_CODE), (messages, f"flood {messages} {size}")):
            tally = Tally(count)
            request_id = client.execute(code, store_history=False, allow_stdin=False)
            while not tally.finished.is_set():
                _count(tally, request_id, await client.get_iopub_msg(timeout=SIDE_TIMEOUT))
        client.stop_channels()
        return tally.result()

    return asyncio.run(measure())


def _round_trips_async(path: Path, series: RequestSeries) -> Measured:
    async def measure() -> Measured:
        client = await _asynchronous(path)

        async def send_and_wait() -> None:
            request_id = _send_request(client, series)
            reply = await client.get_shell_msg(timeout=SIDE_TIMEOUT)
            while reply["parent_header"]["msg_id"] != request_id:
                reply = await client.get_shell_msg(timeout=SIDE_TIMEOUT)

        measured = await series.timed_async(send_and_wait)
        client.stop_channels()
        return measured

    return asyncio.run(measure())


# -- threaded: callers subclass its channels, and are called on its thread -------------------------------


class _Threaded:
    """The client, with replaceable handlers for the messages of its two channels."""

    def __init__(self, path: Path) -> None:
        iopub, shell = threading.Event(), threading.Event()
        self.on_iopub: Callable[[Reply], None] = lambda message: iopub.set()
        self.on_shell: Callable[[Reply], None] = lambda message: shell.set()
        outer = self

        class IOPub(ThreadedZMQSocketChannel):
            def call_handlers(self, msg: dict[str, Any]) -> None:
                outer.on_iopub(msg)

        class Shell(ThreadedZMQSocketChannel):
            def call_handlers(self, msg: dict[str, Any]) -> None:
                outer.on_shell(msg)

        class Client(ThreadedKernelClient):
            iopub_channel_class = Type(IOPub)
            shell_channel_class = Type(Shell)

        self.client = Client(connection_file=str(path))
        self.client.load_connection_file()
        self.client.start_channels()
        while not (iopub.is_set() and shell.is_set()):
            self.client.kernel_info()
            iopub.wait(0.2)
            shell.wait(0.2)


def _flood_threaded(path: Path, messages: int, size: int) -> Measured:
    threaded = _Threaded(path)
    for count, code in ((1000, WARM_UP_CODE), (messages, f"flood {messages} {size}")):
        tally = Tally(count)
        content = execute_request(code)
        message = threaded.client.session.msg("execute_request", content)
        request_id = message["header"]["msg_id"]
        threaded.on_iopub = partial(_count, tally, request_id)
        threaded.client.shell_channel.send(message)
        tally.finished.wait(SIDE_TIMEOUT)
    threaded.client.stop_channels()
    return tally.result()


def _round_trips_threaded(path: Path, series: RequestSeries) -> Measured:
    threaded = _Threaded(path)

    def send_and_wait() -> None:
        replied = threading.Event()
        message = threaded.client.session.msg(series.msg_type, series.content)
        threaded.on_shell = partial(_notice, replied, message["header"]["msg_id"])
        threaded.client.shell_channel.send(message)
        replied.wait(SIDE_TIMEOUT)

    measured = series.timed(send_and_wait)
    threaded.client.stop_channels()
    return measured


def _notice(replied: threading.Event, request_id: str, message: Reply) -> None:
    if message["parent_header"].get("msg_id") == request_id:
        replied.set()


FLOODS: Final = {
    "blocking": _flood_blocking,
    "async": _flood_async,
    "threaded": _flood_threaded,
}
ROUND_TRIPS: Final = {
    "blocking": _round_trips_blocking,
    "async": _round_trips_async,
    "threaded": _round_trips_threaded,
}
