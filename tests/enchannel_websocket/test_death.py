"""Kernels that end or restart, announced by the server or not, and output that the server drops."""

from collections.abc import Iterator

import pytest
from reactivex import operators as ops

import enchannel as ec
from enchannel import KernelState
from enchannel.errors import KernelDied, MessagesMayBeMissing
from enchannel.testing import Collector
from tests.rigs import ASLEEP, DEADLINE
from tests.rigs.processes import kill
from tests.rigs.servers import JupyterServer, KernelGateway, Server
from tests.rigs.websocket import TOKEN

pytestmark = pytest.mark.kernel


@pytest.fixture(params=["jupyter_server", "kernel_gateway"], scope="module")
def any_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    kinds = {"jupyter_server": JupyterServer, "kernel_gateway": KernelGateway}
    with kinds[request.param](token=TOKEN) as server:
        yield server


@pytest.fixture
def kernel(any_server: Server) -> Iterator[ec.Kernel]:
    with ec.launch("python3", at=any_server.url, token=TOKEN) as kernel:
        yield kernel


def test_killed_kernel_fails_requests_and_restarts(kernel: ec.Kernel) -> None:
    pid = int(kernel.run("__import__('os').getpid()", timeout=DEADLINE).text)
    states, at_the_end = Collector(kernel.state), list[KernelState]()
    execution = Collector(
        kernel.execute(ASLEEP).pipe(
            ops.do_action(on_error=lambda _: at_the_end.append(kernel.state.value))
        )
    )
    execution.wait_for_count(1)
    kill(pid)
    error = execution.wait_for_error()
    assert at_the_end == [KernelState.RESTARTING]
    assert isinstance(error, KernelDied)
    assert "died and is being restarted by its server" in str(error)
    states.wait_until(lambda seen: KernelState.RESTARTING in seen and seen[-1] is KernelState.IDLE)
    assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_kernel_killed_after_restart_is_reported(kernel: ec.Kernel) -> None:
    ec.wait(kernel.restart(), timeout=DEADLINE)
    errors = Collector(kernel.errors)
    pid = int(kernel.run("__import__('os').getpid()", timeout=DEADLINE).text)
    kill(pid)
    errors.wait_for(lambda error: isinstance(error, KernelDied))


def test_shutdown_during_foreign_restart_stays_dead(any_server: Server, kernel: ec.Kernel) -> None:
    states = Collector(kernel.state)
    url = f"{any_server.url}/api/kernels/{kernel.id}"
    with ec.connect(url, token=TOKEN, timeout=DEADLINE) as other:
        other.control.on_next(ec.shutdown_request(restart=True))
        states.wait_until(lambda seen: KernelState.RESTARTING in seen)
        ec.wait(kernel.shutdown(), timeout=DEADLINE)
    assert kernel.state.value is KernelState.DEAD
    with pytest.raises(KernelDied):
        kernel.run("1")


def test_killed_kernel_is_shut_down_with_block(any_server: Server) -> None:
    """A server refuses to shut down a kernel that it is about to restart."""
    with ec.launch("python3", at=any_server.url, token=TOKEN) as kernel:
        pid = int(kernel.run("__import__('os').getpid()", timeout=DEADLINE).text)
        states = Collector(kernel.state)
        kill(pid)
        states.wait_until(lambda seen: KernelState.RESTARTING in seen)
    assert kernel.id not in {m["id"] for m in any_server.request("GET", "api/kernels")}


def test_foreign_restart_fails_open_requests(any_server: Server, kernel: ec.Kernel) -> None:
    execution = Collector(kernel.execute(ASLEEP))
    execution.wait_for_count(1)
    states = Collector(kernel.state)
    any_server.request("POST", f"api/kernels/{kernel.id}/restart", {})
    assert isinstance(execution.wait_for_error(), KernelDied)
    states.wait_until(lambda seen: seen[-1] is KernelState.IDLE)
    assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_foreign_delete_fails_channels(any_server: Server, kernel: ec.Kernel) -> None:
    execution, channel = Collector(kernel.execute(ASLEEP)), Collector(kernel.iopub)
    execution.wait_for_count(1)
    any_server.delete_kernel(kernel.id)
    for seen in (execution, channel):
        error = seen.wait_for_error()
        assert isinstance(error, KernelDied)
        assert "it was shut down or culled" in str(error)
    with pytest.raises(ec.EnchannelError):
        kernel.run("1")


def test_silently_deleted_kernel_is_found_by_poll(any_server: Server) -> None:
    """Neither a kernel that is killed and deleted at once nor its server sends anything."""
    kernel_id = any_server.start_kernel()
    url = f"{any_server.url}/api/kernels/{kernel_id}"
    with ec.connect(url, token=TOKEN, timeout=DEADLINE, poll_interval=0.2) as kernel:
        pid = int(kernel.run("__import__('os').getpid()", timeout=DEADLINE).text)
        channel = Collector(kernel.iopub)
        kill(pid)
        any_server.delete_kernel(kernel_id)
        assert isinstance(channel.wait_for_error(), KernelDied)


def test_culled_kernel_fails_channels() -> None:
    # The idle time must be longer than a launch on a loaded machine, or the launch fails.
    options = {
        "MappingKernelManager": {"cull_idle_timeout": 4, "cull_interval": 1, "cull_connected": True}
    }
    with JupyterServer(token=TOKEN, options=options) as server:
        with ec.launch("python3", at=server.url, token=TOKEN, poll_interval=0.5) as kernel:
            error = Collector(kernel.iopub).wait_for_error()
            assert isinstance(error, KernelDied)
            assert "culled" in str(error)
            kernel.close()


def test_kernel_busy_for_another_client_is_busy(any_server: Server, kernel: ec.Kernel) -> None:
    execution = Collector(kernel.execute(ASLEEP))
    execution.wait_until(lambda seen: any(m.header.msg_type == "stream" for m in seen))
    url = f"{any_server.url}/api/kernels/{kernel.id}"
    with ec.connect(url, token=TOKEN, timeout=DEADLINE) as other:
        states = Collector(other.state)
        states.wait_until(lambda seen: seen[-1] is KernelState.BUSY)
        ec.wait(kernel.interrupt(), timeout=DEADLINE)
        states.wait_until(lambda seen: seen[-1] is KernelState.IDLE)


def test_output_dropped_by_server_is_reported() -> None:
    options = {"ZMQChannelsWebsocketConnection": {"iopub_msg_rate_limit": 100}}
    with (
        JupyterServer(token=TOKEN, options=options) as server,
        ec.launch("python3", at=server.url, token=TOKEN) as kernel,
    ):
        errors = Collector(kernel.errors)
        result = kernel.run(
            "from IPython.display import display\nfor n in range(2_000): display(n)",
            timeout=DEADLINE,
        )
        assert len(result.outputs) < 2_000
        missing = errors.wait_for(lambda error: isinstance(error, MessagesMayBeMissing))
        assert "--ServerApp.iopub_msg_rate_limit" in str(missing)
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_printed_server_text_is_only_output(
    kernel: ec.Kernel,
) -> None:
    errors = Collector(kernel.errors)
    words = "IOPub message rate exceeded."
    result = kernel.run(f"import sys; print({words!r}, file=sys.stderr)", timeout=DEADLINE)
    assert words in str(result.outputs)
    assert not errors.items
