"""Running code on real servers of each kind, as with a local kernel."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import enchannel as ec
from enchannel.testing import Collector
from enchannel_websocket import _backend
from tests.rigs import ASLEEP, DEADLINE, eventually
from tests.rigs.proxy import Proxy
from tests.rigs.servers import (
    SERVERS,
    EnterpriseGateway,
    JupyterServer,
    Jupyverse,
    KernelGateway,
    Server,
)

pytestmark = pytest.mark.kernel
TOKEN = "the-token-of-the-server"
GATEWAYS = (KernelGateway, EnterpriseGateway)


@pytest.fixture(
    scope="module", params=[s for s in SERVERS if s is not Jupyverse], ids=lambda s: s.name
)
def any_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with request.param(token=TOKEN, base_url="/user/me/") as server:
        yield server


@pytest.fixture(scope="module")
def kernel(any_server: Server) -> Iterator[ec.Kernel]:
    """Start a kernel shared by the tests that neither restart nor end it, nor count its clients."""
    with ec.launch("python3", at=any_server.url, token=TOKEN, timeout=DEADLINE) as kernel:
        # Starts the delivery thread, which the first test would otherwise seem to leak.
        kernel.state.subscribe()
        yield kernel


@pytest.fixture
def own_kernel(any_server: Server) -> Iterator[ec.Kernel]:
    """Start a kernel for one test."""
    with ec.launch("python3", at=any_server.url, token=TOKEN, timeout=DEADLINE) as kernel:
        yield kernel


def ids(server: Server) -> set[str]:
    return {model.id for model in ec.list_kernels(server.url, token=TOKEN)}


def test_run_returns_output_and_raises_error(kernel: ec.Kernel) -> None:
    result = kernel.run("print('woo'); 6 * 7", timeout=DEADLINE)
    assert result.text == "woo\n42"
    assert result.status == "ok"
    with pytest.raises(ec.KernelError, match="ZeroDivisionError"):
        kernel.run("1 / 0", timeout=DEADLINE)


def test_launched_kernel_ends_with_block(any_server: Server) -> None:
    with ec.launch("python3", at=f"{any_server.url}/lab?token={TOKEN}") as kernel:
        assert kernel.owned
        assert kernel.id in ids(any_server)
    assert kernel.id not in ids(any_server)


def test_connected_kernel_outlives_block(any_server: Server, kernel: ec.Kernel) -> None:
    kernel.run("a = 42", timeout=DEADLINE)
    url = f"{any_server.url}/api/kernels/{kernel.id}?token={TOKEN}"
    with ec.connect(url, timeout=DEADLINE) as other:
        assert not other.owned
        assert other.id == kernel.id
        assert other.run("a", timeout=DEADLINE).text == "42"
    assert kernel.run("a", timeout=DEADLINE).text == "42"


def test_input_request_is_answered(kernel: ec.Kernel) -> None:
    prompts = []

    def answer(request: ec.InputPrompt) -> str:
        prompts.append((request.prompt, request.password))
        return "Ada"

    result = kernel.run("print(input('who? '))", on_input=answer, timeout=DEADLINE)
    assert result.text.endswith("Ada\n") or result.text.endswith("Ada")
    assert prompts == [("who? ", False)]


def test_buffers_round_trip(kernel: ec.Kernel) -> None:
    kernel.run(
        "from comm import get_comm_manager\n"
        "def opened(comm, message):\n"
        "    comm.on_msg(lambda m: comm.send(m['content']['data'], buffers=m['buffers']))\n"
        "get_comm_manager().register_target('echo', opened)",
        timeout=DEADLINE,
    )
    comm = kernel.comm("echo")
    seen: Collector[ec.AnyMessage] = Collector(comm)
    buffers = [b"", b"\0\xff" * 1_000, bytes(range(256))]
    comm.send({"a": 1}, buffers=buffers)
    (echoed,) = seen.wait_for_count(1)
    assert echoed.content["data"] == {"a": 1}
    assert [bytes(buffer) for buffer in echoed.buffers] == buffers


def test_interrupt_stops_code(kernel: ec.Kernel) -> None:
    streams: Collector[ec.AnyMessage] = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
    asleep = Collector(kernel.execute(ASLEEP))
    streams.wait_for(lambda message: "asleep" in message.content["text"])
    ec.wait(kernel.interrupt(), timeout=DEADLINE)
    assert asleep.wait_for_end()[-1].content["status"] == "error"


def test_timeout_interrupts_code(kernel: ec.Kernel) -> None:
    with pytest.raises(ec.RequestTimeout):
        kernel.run("print('on', flush=True); import time; time.sleep(600)", timeout=1)
    assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_restart_keeps_channels(own_kernel: ec.Kernel) -> None:
    own_kernel.run("a = 1", timeout=DEADLINE)
    ec.wait(own_kernel.restart(), timeout=DEADLINE)
    assert own_kernel.state.value == "idle"
    with pytest.raises(ec.KernelError, match="NameError"):
        own_kernel.run("a", timeout=DEADLINE)


def test_shutdown_keeps_channels_open(any_server: Server, own_kernel: ec.Kernel) -> None:
    end: Collector[ec.AnyMessage] = Collector(own_kernel.iopub)
    ec.wait(own_kernel.shutdown(), timeout=DEADLINE)
    assert own_kernel.state.value == "dead"
    assert own_kernel.id not in ids(any_server)
    assert not end.ended
    with pytest.raises(ec.KernelDied, match="was shut down"):
        own_kernel.run("1")
    with pytest.raises(ec.NotSupported):
        ec.wait(own_kernel.restart(), timeout=DEADLINE)


def test_connected_kernel_can_be_restarted(any_server: Server, own_kernel: ec.Kernel) -> None:
    url = f"{any_server.url}/api/kernels/{own_kernel.id}"
    states = Collector(own_kernel.state)
    with ec.connect(url, token=TOKEN, timeout=DEADLINE) as other:
        ec.wait(other.interrupt(), timeout=DEADLINE)
        ec.wait(other.restart(), timeout=DEADLINE)
        assert other.run("6 * 7", timeout=DEADLINE).text == "42"
    states.wait_until(lambda seen: "restarting" in seen and seen[-1] != "restarting")
    assert own_kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_kernels_and_kernelspecs_are_listed(any_server: Server, own_kernel: ec.Kernel) -> None:
    def model_of_kernel() -> ec.KernelModel:
        models = ec.list_kernels(any_server.url, token=TOKEN)
        (model,) = [model for model in models if model.id == own_kernel.id]
        return model

    own_kernel.run("1", timeout=DEADLINE)
    # A server learns of the state from messages, as its clients do.
    assert eventually(lambda: model_of_kernel().state == "idle")
    model = model_of_kernel()
    assert model.name == "python3"
    assert model.connections == 1
    assert model.target == f"{any_server.url}/api/kernels/{own_kernel.id}"
    assert model.last_activity is not None
    assert abs(datetime.now(UTC) - model.last_activity) < timedelta(seconds=DEADLINE)
    with ec.connect(model.target, token=TOKEN, timeout=DEADLINE) as other:
        assert other.id == own_kernel.id
    specs = {spec.name: spec for spec in ec.list_kernelspecs(any_server.url, token=TOKEN)}
    assert specs["python3"].language == "python"
    assert specs["python3"].display_name == "Python 3 (ipykernel)"


def test_connect_at_finds_kernel(any_server: Server, kernel: ec.Kernel) -> None:
    at = f"{any_server.url}/lab?token={TOKEN}"
    for beginning in (kernel.id, kernel.id[:9]):
        with ec.connect(beginning, at=at, timeout=DEADLINE) as other:
            assert other.id == kernel.id
            assert not other.owned
            assert other.run("6 * 7", timeout=DEADLINE).text == "42"
    with pytest.raises(ec.ConnectionFailed, match=f"no kernel on .* matches 'nope'.*{kernel.id}"):
        ec.connect("nope", at=at)
    with pytest.raises(ec.ConnectionFailed, match="does not exist on"):
        ec.connect(str(uuid.uuid4()), at=at)
    with pytest.raises(ec.AuthenticationFailed, match="does not accept the token"):
        ec.connect(kernel.id, at=any_server.url, token="wrong")


def test_connect_at_without_listing() -> None:
    """A gateway does not list its kernels unless it is told to."""
    options: dict[str, dict[str, object]] = {"JupyterWebsocketPersonality": {"list_kernels": False}}
    with (
        KernelGateway(token=TOKEN, options=options) as server,
        ec.launch("python3", at=server.url, token=TOKEN) as kernel,
    ):
        with pytest.raises(ec.ConnectionFailed):
            ec.list_kernels(server.url, token=TOKEN)
        with ec.connect(kernel.id, at=server.url, token=TOKEN, timeout=DEADLINE) as other:
            assert other.run("6 * 7", timeout=DEADLINE).text == "42"


def test_listing_on_loop(any_server: Server, kernel: ec.Kernel) -> None:
    async def main() -> None:
        with pytest.raises(ec.WouldDeadlock):
            ec.list_kernels(any_server.url, token=TOKEN)
        models = await ec.alist_kernels(any_server.url, token=TOKEN)
        assert kernel.id in {model.id for model in models}
        specs = await ec.alist_kernelspecs(any_server.url, token=TOKEN)
        assert "python3" in {spec.name for spec in specs}

    asyncio.run(main())


def test_listing_names_known_options(any_server: Server) -> None:
    with pytest.raises(TypeError, match="'max_sent'.*token"):
        ec.list_kernels(any_server.url, token=TOKEN, max_sent=3)


def test_unknown_kernelspec_lists_installed_ones(any_server: Server) -> None:
    with pytest.raises(ec.LaunchFailed, match="no kernelspec 'pythn3' on .*installed: .*python3"):
        ec.launch("pythn3", at=any_server.url, token=TOKEN)


def test_launch_timeout_leaves_no_kernel(any_server: Server) -> None:
    before = ids(any_server)
    with pytest.raises(ec.ConnectionFailed):
        ec.launch("python3", at=any_server.url, token=TOKEN, timeout=0.05)
    assert ids(any_server) <= before


def test_launch_retries_hanging_websocket(
    any_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server waits for a kernel that it has replaced by another, on other ports."""
    monkeypatch.setattr(_backend, "LAUNCH_ATTEMPT_TIMEOUT", 1.0)
    with Proxy(any_server.port) as proxy:
        swallowed: list[str] = []

        def swallow_the_first(request: str) -> bool:
            if swallowed or "/channels" not in request:
                return False
            swallowed.append(request)
            return True

        proxy.ignores = swallow_the_first
        at = any_server.url.replace(f":{any_server.port}", f":{proxy.port}")
        with ec.launch("python3", at=at, token=TOKEN) as kernel:
            assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
        assert swallowed


def test_env_is_supported_by_gateways_only(any_server: Server) -> None:
    def launch() -> ec.Kernel:
        return ec.launch(
            "python3", at=any_server.url, token=TOKEN, extra_env={"KERNEL_OURS": "there"}
        )

    if not isinstance(any_server, GATEWAYS):
        with pytest.raises(ec.NotSupported, match="only gateways do"):
            launch()
        return
    with launch() as kernel:
        assert kernel.run("__import__('os').environ['KERNEL_OURS']").text == "'there'"


def test_wrong_token_raises(any_server: Server) -> None:
    for call in (
        lambda: ec.launch("python3", at=any_server.url, token="wrong"),
        lambda: ec.list_kernels(any_server.url, token="wrong"),
        lambda: ec.connect(f"{any_server.url}/api/kernels/0-0-0-0-0", token="wrong"),
    ):
        with pytest.raises(ec.AuthenticationFailed, match="does not accept the token"):
            call()
    with pytest.raises(ec.AuthenticationFailed, match='pass token="…" or password="…"'):
        ec.launch("python3", at=any_server.url)


def test_unknown_kernel_raises(any_server: Server) -> None:
    with pytest.raises(ec.ConnectionFailed, match="kernel 0-0-0-0-0 does not exist on"):
        ec.connect(f"{any_server.url}/api/kernels/0-0-0-0-0", token=TOKEN)


def test_notebook_kernel_has_a_session(any_server: Server) -> None:
    if not isinstance(any_server, JupyterServer):
        pytest.skip("gateways have no notebooks")
    launched = ec.launch("python3", at=any_server.url, token=TOKEN, notebook="a/b.ipynb")
    with launched as kernel:
        (session,) = any_server.request("GET", "api/sessions")
        assert (session["path"], session["kernel"]["id"]) == ("a/b.ipynb", kernel.id)
        url = f"{any_server.url}/api/sessions/{session['id']}?token={TOKEN}"
        with ec.connect(url, timeout=DEADLINE) as beside:
            assert beside.id == kernel.id
        with pytest.raises(ec.LaunchFailed, match="a/b.ipynb already has a kernel"):
            ec.launch("python3", at=any_server.url, token=TOKEN, notebook="a/b.ipynb")
    assert any_server.request("GET", "api/sessions") == []


def test_cwd_is_below_server_root(any_server: Server) -> None:
    (any_server.home / "work" / "below").mkdir(exist_ok=True)
    with ec.launch("python3", at=any_server.url, token=TOKEN, cwd="below") as kernel:
        directory = kernel.run("print(__import__('os').getcwd())", timeout=DEADLINE).text
    if isinstance(any_server, JupyterServer):
        assert Path(directory.strip()).name == "below"


def kernels_at(server: Server) -> set[str]:
    return {model["id"] for model in server.request("GET", "api/kernels")}


@pytest.mark.parametrize("cwd", ["nowhere", "/nowhere", "below/nowhere", "file"])
def test_missing_cwd_fails_launch(any_server: Server, cwd: str) -> None:
    if not isinstance(any_server, JupyterServer):
        pytest.skip("other servers have no API for files")
    (any_server.home / "work" / "below").mkdir(exist_ok=True)
    (any_server.home / "work" / "file").touch()
    before = kernels_at(any_server)
    with pytest.raises(ec.LaunchFailed, match=f"cwd='{cwd}' does not exist below the root of"):
        ec.launch("python3", at=any_server.url, token=TOKEN, cwd=cwd)
    assert kernels_at(any_server) == before


def test_unknown_cwd_is_reported(any_server: Server) -> None:
    hidden = any_server.home / "work" / ".hidden"
    hidden.mkdir(exist_ok=True)
    with ec.launch("python3", at=any_server.url, token=TOKEN, cwd=".hidden") as kernel:
        errors = Collector(kernel.errors)
        error = errors.wait_for(lambda error: isinstance(error, ec.NotSupported))
        assert "does not tell whether the directory cwd='.hidden' exists" in str(error)


@pytest.mark.parametrize("option", [{"cwd": "below"}, {"extra_env": {"KERNEL_A": "1"}}])
def test_settings_that_notebook_ignores_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot be combined with notebook='a.ipynb'"):
        ec.launch("python3", at="http://localhost:1", notebook="a.ipynb", **option)


def test_launch_in_event_loop_does_not_block(any_server: Server) -> None:
    async def main() -> str:
        async with ec.launch("python3", at=any_server.url, token=TOKEN) as kernel:
            return (await kernel.execute("6 * 7").pipe(ec.to_result())).text

    assert asyncio.run(main()) == "42"


@pytest.mark.parametrize("base_url", ["/", "/lab/", "/team/notebooks/", "/user/tree/", "/api/"])
def test_server_with_any_base_url_is_found(base_url: str) -> None:
    with JupyterServer(token=TOKEN, base_url=base_url) as server:
        for page in ("", "/", "/lab", "/lab/tree/a/lab/b.ipynb", "/tree", "/api", "/api/kernels"):
            assert ec.list_kernels(f"{server.url}{page}?token={TOKEN}") == ()
        with ec.launch("python3", at=f"{server.url}/lab?token={TOKEN}") as kernel:
            assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
            (model,) = ec.list_kernels(f"{server.url}/tree", token=TOKEN)
            assert model.target == f"{server.url}/api/kernels/{kernel.id}"
        with pytest.raises(ec.AuthenticationFailed):
            ec.list_kernels(f"{server.url}/lab", token="wrong")


def test_base_url_is_asked_before_login() -> None:
    with JupyterServer(base_url="/lab/", password="open sesame", token=TOKEN) as server:
        assert ec.list_kernels(f"{server.url}/lab", password="open sesame") == ()
