"""Connecting to a running kernel."""

import asyncio
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest

import enchannel as ec
import enchannel_zmq
from enchannel.testing import Collector
from tests.rigs import DEADLINE, eventually
from tests.rigs.processes import count_descriptors
from tests.rigs.threads import run_on_loop
from tests.rigs.wire_kernel import WireKernel

pytestmark = pytest.mark.kernel


def test_connect_accepts_every_kind_of_target(kernel: ec.Kernel) -> None:
    path = enchannel_zmq.find_connection_file(kernel.id)
    info = enchannel_zmq.read_connection_file(path)
    for target in (path, str(path), path.name, kernel.id, kernel.id[:8], info, info.to_dict()):
        with ec.connect(target, timeout=DEADLINE) as again:
            assert again.run("6 * 7", timeout=DEADLINE).text == "42"


def test_busy_kernel_connects(kernel: ec.Kernel) -> None:
    busy = Collector(kernel.execute("import time\nwhile True: time.sleep(0.01)"))
    busy.wait_until(lambda messages: messages)
    with ec.connect(kernel.id, timeout=DEADLINE) as again:
        ec.wait(again.interrupt(), timeout=DEADLINE)
    busy.wait_for_end()


def test_output_after_connecting_arrives(kernel: ec.Kernel) -> None:
    for number in range(10):
        with ec.connect(kernel.id, timeout=DEADLINE) as again:
            seen = Collector(again.iopub.pipe(ec.accumulate_outputs()))
            kernel.run(f"print({number})", timeout=DEADLINE)
            assert seen.wait_until(lambda states: states)[0].text.startswith(str(number))


def test_clients_of_one_kernel_share_iopub(kernel: ec.Kernel) -> None:
    with ec.connect(kernel.id) as one, ec.connect(kernel.id) as two:
        seen = Collector(two.iopub.pipe(ec.of_message_type("execute_input")))
        one.run("'of one'", timeout=DEADLINE)
        seen.wait_for(lambda message: message.content["code"] == "'of one'")


def test_end_of_block_leaves_kernel_running(kernel: ec.Kernel) -> None:
    pid = int(kernel.run("__import__('os').getpid()").text)
    with ec.connect(kernel.id):
        pass
    assert psutil.pid_exists(pid)


def test_kernel_without_welcome_is_probed() -> None:
    with ec.launch("ipykernel6") as kernel, ec.connect(kernel.id, timeout=DEADLINE) as again:
        seen = Collector(again.iopub)
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
        seen.wait_for(lambda message: message.header.msg_type == "execute_result")


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_curve_kernel_needs_curve_keys(transport: str) -> None:
    with ec.launch(transport=transport, encryption="required") as kernel:
        path = enchannel_zmq.find_connection_file(kernel.id)
        info = enchannel_zmq.read_connection_file(path)
        assert info.curve_publickey
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
        with ec.connect(path, timeout=DEADLINE) as again:
            assert again.run("6 * 7", timeout=DEADLINE).text == "42"
        plain = {k: v for k, v in info.to_dict().items() if not k.startswith("curve")}
        with pytest.raises(ec.ConnectionFailed, match="CURVE"):
            ec.connect(plain, timeout=0.5)


def test_tcp_is_encrypted_if_supported() -> None:
    with ec.launch(transport="tcp") as kernel:
        info = enchannel_zmq.read_connection_file(enchannel_zmq.find_connection_file(kernel.id))
        assert info.curve_publickey


def test_unsupported_encryption_is_explained() -> None:
    with pytest.raises(ec.LaunchFailed, match="curve"):
        ec.launch("ipykernel6", transport="tcp", encryption="required", timeout=3)


def test_nteract_functions_on_loop_name_connect(kernel: ec.Kernel) -> None:
    path = enchannel_zmq.find_connection_file(kernel.id)

    async def main() -> None:
        for create in (enchannel_zmq.create_channels, enchannel_zmq.create_main_channel):
            with pytest.raises(ec.WouldDeadlock, match=r"use `kernel = await enchannel\.connect"):
                create(path)

    run_on_loop(main)


def test_nteract_functions_return_channels(kernel: ec.Kernel) -> None:
    path = enchannel_zmq.find_connection_file(kernel.id)
    channels = enchannel_zmq.create_channels(path, identity="an-identity")
    request = ec.execute_request("6 * 7")
    seen = Collector(
        channels.iopub.pipe(ec.child_of(request), ec.of_message_type("execute_result"))
    )
    channels.shell.on_next(request)
    assert seen.wait_until(lambda messages: messages)[0].content["data"]["text/plain"] == "42"
    channels.close()
    main = enchannel_zmq.create_main_channel(path)
    question = ec.kernel_info_request()
    seen_on_main = Collector(main.pipe(ec.child_of(question)))
    main.on_next(question)
    seen_on_main.wait_until(lambda messages: {m.channel for m in messages} >= {"shell", "iopub"})
    main.kernel.close()
    seen_on_main.wait_for_end()


def test_connect_on_event_loop_needs_await(
    kernel: ec.Kernel,
) -> None:
    async def main() -> str:
        unopened = ec.connect(kernel.id)
        with pytest.raises(ec.NotConnected, match="async with"):
            _ = unopened.shell
        async with ec.connect(kernel.id) as again:
            async for message in ec.aiter(again.execute("print('x')")):
                if message.header.msg_type == "stream":
                    break
            result = await again.execute("6 * 7").pipe(ec.to_result())
        awaited = await ec.connect(kernel.id)
        await awaited.kernel_info()
        await awaited.aclose()
        return result.text

    assert asyncio.run(asyncio.wait_for(main(), DEADLINE)) == "42"


def test_cancelled_launch_leaves_nothing() -> None:
    async def main() -> None:
        async def launch() -> None:
            async with ec.launch():
                pass

        task = asyncio.create_task(launch())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_failed_connection_leaves_no_descriptor(tmp_path: Path) -> None:
    def attempt() -> None:
        fields = dict.fromkeys(("shell_port", "iopub_port", "stdin_port", "hb_port"), 1)
        with pytest.raises(ec.ConnectionFailed):
            ec.connect({"ip": "127.0.0.1", "key": "k", "control_port": 1, **fields}, timeout=0.2)

    attempt()
    before = count_descriptors()
    attempt()
    # libzmq closes a socket's descriptor on its own thread, a moment later.
    assert eventually(lambda: count_descriptors() <= before)


def test_message_sent_before_close_arrives() -> None:
    with WireKernel() as wire:
        for _ in range(50):
            with ec.connect(wire.info, timeout=DEADLINE) as kernel:
                kernel.control.on_next(ec.interrupt_request())
            while wire.requests.get(timeout=DEADLINE).type != "interrupt_request":
                pass


def test_unread_messages_are_queued_and_counted() -> None:
    with ec.launch(silent_after=DEADLINE) as kernel:
        pid = int(kernel.run("__import__('os').getpid()", timeout=DEADLINE).text)
        replies = Collector(kernel.control.pipe(ec.of_message_type("kernel_info_reply")))
        requests = [ec.kernel_info_request(channel="control") for _ in range(4_000)]
        process = psutil.Process(pid)
        process.suspend()
        try:
            for request in requests:
                kernel.control.on_next(request)
            waiting = settled_unsent(kernel.control)
            assert waiting == kernel.main.unsent
        finally:
            process.resume()
        replies.wait_until(lambda replies: len(replies) == len(requests))
        sent_ids = [request.header.msg_id for request in requests]
        assert [reply.parent_header.msg_id for reply in replies.items] == sent_ids
        assert kernel.control.unsent == 0


def settled_unsent(channel: ec.Channel) -> int:
    """Return the number of queued messages, once the I/O thread has sent all that fit."""
    deadline = time.monotonic() + DEADLINE
    before, waiting = -1, channel.unsent
    while before != waiting or waiting < 1_000:
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
        before, waiting = waiting, channel.unsent
    return waiting


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback address")
def test_ipv6_connection_works() -> None:
    with WireKernel(host="::1") as wire, ec.connect(wire.info, timeout=DEADLINE) as kernel:
        assert kernel.run("1", timeout=DEADLINE).status == "ok"
