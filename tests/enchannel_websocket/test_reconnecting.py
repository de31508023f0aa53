"""Lost connections: they are restored or given up, and each request is answered or fails."""

import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import websockets.sync.server as ws
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection

import enchannel as ec
from enchannel import AnyMessage, LinkState, Session
from enchannel.errors import ConnectionLost, EnchannelError, KernelDied, MessagesMayBeMissing
from enchannel.testing import Collector, FakeKernel
from tests.rigs import DEADLINE, eventually
from tests.rigs.proxy import Proxy
from tests.rigs.servers import HOST, JupyterServer
from tests.rigs.websocket import TOKEN, WebsocketRig

pytestmark = pytest.mark.kernel
COUNTING = """
import time
print('begun', flush=True)
for number in range(30):
    print(number, flush=True)
    time.sleep(0.05)
'done'
"""


@pytest.fixture
def proxy(server: JupyterServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def kernel(server: JupyterServer, proxy: Proxy) -> Iterator[ec.Kernel]:
    """Start a real kernel behind a proxy that can break the connection."""
    with ec.launch("python3", at=f"http://{HOST}:{proxy.port}", token=TOKEN) as kernel:
        yield kernel
        proxy.restore()


def lost_and_found(kernel: ec.Kernel, proxy: Proxy) -> None:
    links = Collector(kernel.link_state)
    proxy.cut()
    links.wait_until(lambda seen: LinkState.LOST in seen)
    proxy.restore()
    links.wait_until(lambda seen: seen[-1] is LinkState.CONNECTED)


def test_code_running_during_loss_is_answered(kernel: ec.Kernel, proxy: Proxy) -> None:
    errors = Collector(kernel.errors)
    streams = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
    counting = Collector(kernel.execute(COUNTING))
    streams.wait_for(lambda message: "begun" in message.content["text"])
    lost_and_found(kernel, proxy)
    assert counting.wait_for_end()[-1].content["status"] == "ok"
    assert counting.error is None
    text = "".join(m.content["text"] for m in counting.items if m.header.msg_type == "stream")
    # The server buffered the output during the loss.
    assert text.split()[-1] == "29"
    results = [m for m in counting.items if m.header.msg_type == "execute_result"]
    assert [m.content["data"]["text/plain"] for m in results] == ["'done'"]
    errors.wait_for(lambda error: isinstance(error, MessagesMayBeMissing))
    assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_buffered_output_is_delivered_once(
    kernel: ec.Kernel, proxy: Proxy, server: JupyterServer, tmp_path: Path
) -> None:
    displays: Collector[AnyMessage] = Collector(
        kernel.iopub.pipe(ec.of_message_type("display_data"))
    )
    if sys.platform == "win32":
        pytest.skip("requires a named pipe")
    begun, done = tmp_path / "begun", tmp_path / "done"
    os.mkfifo(begun)
    execution = Collector(
        kernel.execute(
            f"open({str(begun)!r}).read()\n"
            "from IPython.display import display\n"
            "for number in range(200): display(number)\n"
            f"open({str(done)!r}, 'x').close()"
        )
    )
    execution.wait_for_count(1)
    links = Collector(kernel.link_state)
    proxy.cut()
    links.wait_until(lambda seen: LinkState.LOST in seen)
    # The kernel continues while the connection is lost.
    begun.write_text("")
    assert eventually(done.exists)
    proxy.restore()
    execution.wait_for_end()
    numbers = [m.content["data"]["text/plain"] for m in displays.items]
    assert numbers == [str(number) for number in range(200)]


def test_request_lost_on_its_way_fails(server: JupyterServer) -> None:
    """Only the probe after reconnecting shows that the server never received the request."""
    with WebsocketRig(server) as rig:
        FakeKernel(rig)
        with ec.connect(rig.target, timeout=DEADLINE) as kernel:
            links = Collector(kernel.link_state)
            rig.pause_reading()  # the proxy keeps the request
            execution = Collector(kernel.execute("lost"))
            rig.disconnect()
            links.wait_until(lambda seen: LinkState.LOST in seen)
            rig.resume_reading()
            rig.reconnect()
            assert isinstance(execution.wait_for_error(), ConnectionLost)
            assert kernel.run("found", timeout=DEADLINE).text == "found"


def test_run_while_lost_raises(kernel: ec.Kernel, proxy: Proxy) -> None:
    links = Collector(kernel.link_state)
    proxy.cut()
    links.wait_until(lambda seen: LinkState.LOST in seen)
    with pytest.raises(ConnectionLost, match="the connection to kernel .* broke"):
        kernel.run("1")
    proxy.restore()
    links.wait_until(lambda seen: seen[-1] is LinkState.CONNECTED)
    assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_reconnect_timeout_fails_channels(server: JupyterServer, proxy: Proxy) -> None:
    kernel_id = server.start_kernel()
    url = f"http://{HOST}:{proxy.port}/api/kernels/{kernel_id}"
    with ec.connect(url, token=TOKEN, reconnect_timeout=0.3, timeout=DEADLINE) as kernel:
        execution, channel = (
            Collector(kernel.execute("import time; time.sleep(60)")),
            Collector(kernel.iopub),
        )
        execution.wait_for_count(1)
        proxy.cut()
        for seen in (execution, channel):
            assert isinstance(seen.wait_for_error(), ConnectionLost)
            assert "could not be restored within 0.3 s" in str(seen.wait_for_error())
        assert kernel.link_state.value is LinkState.CLOSED
    server.delete_kernel(kernel_id)


def test_silent_server_is_lost_after_keepalive(server: JupyterServer) -> None:
    with WebsocketRig(server) as rig:
        FakeKernel(rig)
        with ec.connect(rig.target, timeout=DEADLINE, keepalive_timeout=0.4) as kernel:
            links = Collector(kernel.link_state)
            rig.pause_reading()  # pings are not answered
            links.wait_until(lambda seen: LinkState.LOST in seen)
            rig.resume_reading()
            links.wait_until(lambda seen: seen[-1] is LinkState.CONNECTED)
            assert kernel.run("found", timeout=DEADLINE).text == "found"


def test_expired_token_fails_at_once(
    kernel: ec.Kernel, proxy: Proxy, server: JupyterServer
) -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    channel = Collector(kernel.iopub)
    with proxy.answering(lambda request: refusal):
        proxy.cut()
        proxy.restore()
        error = channel.wait_for_error()
    assert isinstance(error, ec.AuthenticationFailed)
    assert "it may have expired" in str(error)
    server.delete_kernel(kernel.id)


@pytest.mark.parametrize("status", ["500 Internal Server Error", "502 Bad Gateway", "503 Busy"])
def test_server_error_is_retried(kernel: ec.Kernel, proxy: Proxy, status: str) -> None:
    trouble = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    links = Collector(kernel.link_state)
    tried = Collector[str]()

    def answer(request: str) -> bytes:
        tried.on_next(request)
        return trouble

    with proxy.answering(answer):
        proxy.cut()
        proxy.restore()
        tried.wait_for_count(3)
    links.wait_until(lambda seen: LinkState.LOST in seen and seen[-1] is LinkState.CONNECTED)
    assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_input_reply_during_loss_is_sent_later(kernel: ec.Kernel, proxy: Proxy) -> None:
    links = Collector(kernel.link_state)

    def answer(request: ec.InputPrompt) -> str:
        proxy.cut()
        links.wait_until(lambda seen: LinkState.LOST in seen)
        proxy.restore()
        return "Ada"

    result = kernel.run("print(input('who? '))", on_input=answer, timeout=DEADLINE)
    assert result.text.split()[-1] == "Ada"
    assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_interrupt_during_loss_is_sent_later(kernel: ec.Kernel, proxy: Proxy) -> None:
    kernel.errors.subscribe(lambda _: None)
    links, begun = (
        Collector(kernel.link_state),
        Collector(kernel.iopub.pipe(ec.of_message_type("stream"))),
    )
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(
            kernel.run, "print('on', flush=True); import time; time.sleep(600)", timeout=2
        )
        begun.wait_until(len)
        proxy.cut()
        links.wait_until(lambda seen: LinkState.LOST in seen)
        with pytest.raises(ec.RequestTimeout):
            running.result(DEADLINE)
    proxy.restore()
    while kernel.link_state.value is not LinkState.CONNECTED:
        links.wait_until(lambda seen: seen[-1] is LinkState.CONNECTED)
    while kernel.run("", check=False, timeout=DEADLINE).status == "aborted":
        pass
    assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_kernel_replaced_during_loss_fails_requests(
    kernel: ec.Kernel, proxy: Proxy, server: JupyterServer
) -> None:
    execution = Collector(kernel.execute("import time; time.sleep(600)"))
    execution.wait_for_count(1)
    comm: Collector[AnyMessage] = Collector(kernel.comm("nobody"))
    links = Collector(kernel.link_state)
    proxy.cut()
    links.wait_until(lambda seen: LinkState.LOST in seen)
    server.request("POST", f"api/kernels/{kernel.id}/restart", {})
    proxy.restore()
    assert isinstance(execution.wait_for_error(), (KernelDied, ConnectionLost))
    comm.wait_until(lambda _: comm.ended)

    def answers() -> bool:
        try:
            return kernel.run("6 * 7", timeout=DEADLINE).text == "42"
        except KernelDied:  # it restarts
            return False

    assert eventually(answers)


def test_one_of_two_clients_with_a_session_gives_up(server: JupyterServer) -> None:
    """A server closes the older of two connections with the same session."""
    twins = Session("twin", "ada")
    with WebsocketRig(server) as rig:
        FakeKernel(rig)
        older = ec.connect(rig.target, session=twins, timeout=DEADLINE)
        ended = Collector(older.iopub)
        while True:
            try:
                newer = ec.connect(rig.target, session=twins, timeout=DEADLINE)
                break
            except ec.ConnectionFailed:  # the older reconnected first
                continue
        both = [ended, Collector(newer.iopub)]
        assert eventually(lambda: any(seen.ended for seen in both))
        (error,) = [seen.error for seen in both if seen.error is not None]
        assert "no other client uses the same session" in str(error)
        for kernel in (older, newer):
            kernel.close()


def test_server_that_closes_at_once_raises() -> None:
    """The exception is enchannel's, not that of the WebSocket library."""

    def serve(connection: ServerConnection) -> None:
        connection.close()

    def process(connection: ServerConnection, request: Request) -> Response | None:
        if "/channels" in request.path:
            return None
        return connection.respond(200, '{"id": "0-0-0-0-0", "execution_state": "idle"}')

    with ws.serve(serve, HOST, 0, process_request=process) as far:
        thread = threading.Thread(target=far.serve_forever)
        thread.start()
        port = far.socket.getsockname()[1]
        for _ in range(5):
            with pytest.raises(ec.ConnectionFailed, match="the server closed it: 1000"):
                ec.connect(f"http://{HOST}:{port}/api/kernels/0-0-0-0-0", timeout=DEADLINE)
        far.shutdown()
        thread.join(DEADLINE)


# Servers that end, and their kernels with them.


@pytest.fixture
def mortal() -> Iterator[JupyterServer]:
    with JupyterServer(token=TOKEN) as server:
        yield server


def test_restarted_server_has_lost_the_kernel(mortal: JupyterServer) -> None:
    with ec.launch("python3", at=mortal.url, token=TOKEN) as kernel:
        execution, channel = (
            Collector(kernel.execute("import time; time.sleep(60)")),
            Collector(kernel.iopub),
        )
        execution.wait_for_count(1)
        mortal.kill()
        mortal.start()
        for seen in (execution, channel):
            error = seen.wait_for_error()
            assert isinstance(error, KernelDied)
            assert "the server was restarted" in str(error)
        kernel.close()


def test_killed_server_fails_requests(mortal: JupyterServer) -> None:
    with ec.launch("python3", at=mortal.url, token=TOKEN, reconnect_timeout=0.5) as kernel:
        execution = Collector(kernel.execute("import time; time.sleep(60)"))
        execution.wait_for_count(1)
        mortal.kill()
        assert isinstance(execution.wait_for_error(), ConnectionLost)
        errors: list[EnchannelError] = []
        kernel.errors.subscribe(errors.append, lambda _: None)
        kernel.close()
