"""Exit, fork, Ctrl-C and close at any moment: nothing hangs, and nothing is left behind."""

import subprocess
import sys
import textwrap
import threading

import pytest

import enchannel as ec
from enchannel import LinkState
from enchannel._kernel.kernel import parts_of
from enchannel.testing import Collector, FakeKernel
from enchannel_websocket._loop import loops
from tests.enchannel_zmq.test_hangs import ctrl_c
from tests.rigs import DEADLINE, eventually
from tests.rigs.servers import JupyterServer
from tests.rigs.websocket import TOKEN, WebsocketRig

pytestmark = pytest.mark.kernel
BEGIN = """
import contextlib, gc, os, sys, threading
import enchannel as ec
url, token = sys.argv[1:]
received = threading.Event()
"""
IGNORED = ("-W", "ignore:This process:DeprecationWarning")
FLOOD = "while True: print('x' * 100, flush=True)"


def ended(script: str, server: JupyterServer) -> str:
    """Run a script, check that it exits without error, and return its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *IGNORED, "-c", BEGIN + script, server.url, TOKEN],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def kernel_ids(server: JupyterServer) -> set[str]:
    return {model["id"] for model in server.request("GET", "api/kernels")}


AT_THE_END = {
    "in a flood": f"""
        kernel.iopub.subscribe(lambda message: received.set())
        kernel.shell.on_next(ec.execute_request({FLOOD!r}))
        received.wait()
    """,
    "while a thread waits": """
        def run():
            with contextlib.suppress(ec.EnchannelError):
                kernel.run("print('on', flush=True); import time; time.sleep(600)")
        kernel.iopub.subscribe(lambda message: received.set())
        threading.Thread(target=run, daemon=True).start()
        received.wait()
    """,
}


@pytest.mark.parametrize("when", AT_THE_END)
def test_interpreter_exit_ends_launched_kernel(server: JupyterServer, when: str) -> None:
    script = "kernel = ec.launch('python3', at=url, token=token)\nprint(kernel.id)\n"
    kernel_id = ended(script + textwrap.dedent(AT_THE_END[when]), server)
    assert kernel_id not in kernel_ids(server)


def test_interpreter_exit_keeps_connected_kernel(server: JupyterServer) -> None:
    kernel_id = server.start_kernel()
    ended(f"kernel = ec.connect(f'{{url}}/api/kernels/{kernel_id}', token=token)\n", server)
    assert kernel_id in kernel_ids(server)
    server.delete_kernel(kernel_id)


def test_forked_child_does_not_affect_parent(server: JupyterServer) -> None:
    script = f"""
        kernel = ec.launch("python3", at=url, token=token)
        kernel_id = kernel.id
        kernel.iopub.subscribe(lambda message: None)
        child = os.fork()
        if not child:
            try:
                kernel.run("1")
            except ec.ChannelClosed:
                pass
            kernel.close()
            where = f"{{url}}/api/kernels/{{kernel_id}}"
            with ec.connect(where, token=token, timeout={DEADLINE}) as again:
                assert again.run("6 * 7", timeout={DEADLINE}).text == "42"
            del kernel
            gc.collect()
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
        print(kernel.run("6 * 7", timeout={DEADLINE}).text)
        kernel.close()
    """
    assert ended(textwrap.dedent(script), server) == "42"


def test_ctrl_c_in_connect_leaves_nothing(server: JupyterServer) -> None:
    with WebsocketRig(server) as rig:
        rig.pause_reading()
        with ctrl_c(lambda: eventually(lambda: loops.current is not None)):
            ec.connect(rig.target, timeout=600)
        rig.resume_reading()
        assert eventually(lambda: loops.current is None)


def test_ctrl_c_in_launch_leaves_no_kernel(server: JupyterServer) -> None:
    before = kernel_ids(server)
    with WebsocketRig(server) as rig:
        requests = Collector[str]()
        base = rig.target.partition("/api")[0]

        def hold(request: str) -> None:
            requests.on_next(request)
            if "/channels" in request:
                rig.pause_reading()

        with (
            rig.proxy.answering(hold),
            ctrl_c(lambda: requests.wait_until(lambda seen: any("/channels" in r for r in seen))),
        ):
            ec.launch("python3", at=base, token=TOKEN, timeout=600)
        rig.resume_reading()
        assert eventually(lambda: kernel_ids(server) - {rig.kernel_id} <= before)
    assert eventually(lambda: loops.current is None)


@pytest.mark.parametrize("name", ["shell", "iopub", "main", "link_state", "state", "errors"])
def test_subscriber_can_close_kernel(server: JupyterServer, name: str) -> None:
    with WebsocketRig(server) as rig:
        FakeKernel(rig)
        with ec.connect(rig.target, timeout=DEADLINE) as kernel:
            closed = threading.Event()

            def close(item: object) -> None:
                kernel.close()
                closed.set()

            getattr(kernel, name).subscribe(close)
            parts_of(kernel).report(ec.EnchannelError("nothing is wrong"))
            kernel.execute("there").subscribe(on_error=lambda _: None)
            assert closed.wait(DEADLINE)
            assert kernel.link_state.value is LinkState.CLOSED


def test_close_during_flood_returns(server: JupyterServer) -> None:
    with ec.launch("python3", at=server.url, token=TOKEN) as kernel:
        streams = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
        kernel.shell.on_next(ec.execute_request(FLOOD))
        streams.wait_until(lambda messages: len(messages) > 100)
        kernel.close()
        assert streams.completed
        assert kernel.id not in kernel_ids(server)


def test_close_while_lost_completes_channels(server: JupyterServer) -> None:
    with WebsocketRig(server) as rig:
        with ec.connect(rig.target, timeout=DEADLINE) as kernel:
            links, ends = Collector(kernel.link_state), Collector(kernel.iopub)
            rig.disconnect()
            links.wait_until(lambda seen: LinkState.LOST in seen)
            kernel.close()
            ends.wait_for_end()
            assert ends.completed


def test_close_of_launched_kernel_without_server() -> None:
    with JupyterServer(token=TOKEN) as server:
        with ec.launch("python3", at=server.url, token=TOKEN) as kernel:
            links = Collector(kernel.link_state)
            server.kill()
            links.wait_until(lambda seen: LinkState.LOST in seen)
            kernel.close()
            assert kernel.link_state.value is LinkState.CLOSED
