"""Plain Socket.IO clients: one namespace per channel, one event per message."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from enchannel import messages as build
from enchannel.memory import InMemoryKernel
from enchannel_socketio.relay import _watcher
from tests.enchannel_socketio.conftest import Running, sharing, spawned
from tests.enchannel_socketio.foreign import FULL, ForeignClient

HEADER = {"msg_id": "a-request", "msg_type": "execute_request", "session": "me"}


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("batch", [False, True])
def test_foreign_client_runs_code(relay: Running, transport: str, batch: bool) -> None:
    async def run(kernel_id: str) -> list[str]:
        shell, iopub = (
            ForeignClient(relay.url, f"/{channel}/{kernel_id}", transport=transport)
            for channel in ("shell", "iopub")
        )
        for client in (shell, iopub):
            await client.open(FULL, session="me", batch=batch)
        message = {"header": HEADER, "content": {"code": "6 * 7", "silent": False}}
        await shell.io.emit("msg", message, namespace=shell.namespace)
        kinds: list[str] = []
        async for message in messages(iopub):
            kinds.append(message["header"]["msg_type"])
            if message["content"].get("execution_state") == "idle":
                break
        async for message in messages(shell):
            kinds.append(message["header"]["msg_type"])
            break
        await shell.close()
        await iopub.close()
        return [kind for kind in kinds if kind not in ("stream", "status")]

    with spawned(relay) as kernel_id:
        kinds = asyncio.run(run(kernel_id))
    assert kinds == ["execute_input", "execute_result", "execute_reply"]


async def messages(client: ForeignClient) -> AsyncIterator[Any]:
    """Yield the messages of the client's channel that belong to its request."""
    while True:
        name, *arguments = await client.received.get()
        if name == "batch":
            those = [event[1] for event in arguments[0]["events"] if event[0] == "msg"]
        else:
            those = [arguments[0]] if name == "msg" else []
        for message in those:
            if message["parent_header"].get("msg_id") == HEADER["msg_id"]:
                yield message


def test_client_without_acks_is_reminded(relay: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watcher, "ACK_TIMEOUT", 0.1)
    with InMemoryKernel() as remote, sharing(relay, remote.target) as kernel_id:

        async def listen() -> tuple[Any, list[int]]:
            client = ForeignClient(relay.url, f"/iopub/{kernel_id}")
            await client.open(FULL, credit=10)
            for number in range(30):
                remote.send(build.stream("stdout", f"{number}"))
            received = [await client.next("msg") for _ in range(10)]
            (refused,) = await client.next("refused")
            for _ in range(2):
                await client.io.emit("ack", received[-1][1], namespace=client.namespace)
                received += [await client.next("msg") for _ in range(10)]
            await client.close()
            return refused, [int(message["content"]["text"]) for message, _ in received]

        refused, numbers = asyncio.run(listen())
        assert 'emit("ack", position)' in refused["error"]
        assert numbers == list(range(30))


def test_since_works_in_each_namespace(relay: Running) -> None:
    with InMemoryKernel() as remote, sharing(relay, remote.target) as kernel_id:

        async def listen() -> list[int]:
            numbers: list[int] = []
            since = 0
            for number in range(3):
                remote.send(build.stream("stdout", f"{number}"))
                client = ForeignClient(relay.url, f"/iopub/{kernel_id}")
                await client.open(FULL, since=since)
                message, since = await client.next("msg")
                numbers.append(int(message["content"]["text"]))
                await client.close()
            return numbers

        assert asyncio.run(listen()) == [0, 1, 2]
