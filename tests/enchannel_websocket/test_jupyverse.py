"""jupyverse, which is not based on Tornado. It accepts tokens in URLs only, so it runs without one here."""

from collections.abc import Iterator

import pytest

import enchannel as ec
from enchannel.testing import Collector
from tests.rigs import ASLEEP, DEADLINE
from tests.rigs.servers import Jupyverse

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def jupyverse() -> Iterator[Jupyverse]:
    with Jupyverse() as server:
        yield server


@pytest.fixture
def kernel(jupyverse: Jupyverse) -> Iterator[ec.Kernel]:
    with ec.launch("python3", at=jupyverse.url) as kernel:
        yield kernel


def test_run_returns_output_and_raises_error(kernel: ec.Kernel) -> None:
    assert kernel.run("print('woo'); 6 * 7", timeout=DEADLINE).text == "woo\n42"
    with pytest.raises(ec.KernelError, match="ZeroDivisionError"):
        kernel.run("1 / 0", timeout=DEADLINE)


def test_launched_kernel_ends_with_block(jupyverse: Jupyverse) -> None:
    with ec.launch("python3", at=jupyverse.url) as kernel:
        url = f"{jupyverse.url}/api/kernels/{kernel.id}"
        with ec.connect(url, timeout=DEADLINE) as other:
            assert other.run("6 * 7", timeout=DEADLINE).text == "42"
    with pytest.raises(ec.ConnectionFailed, match="does not exist on"):
        ec.connect(url)
    assert jupyverse.request("GET", "api/sessions") == []


def test_kernels_and_kernelspecs_are_listed(jupyverse: Jupyverse, kernel: ec.Kernel) -> None:
    (model,) = [model for model in ec.list_kernels(jupyverse.url) if model.id == kernel.id]
    assert model.name == "python3"
    assert model.state in ("starting", "idle")
    assert model.last_activity is not None
    assert model.last_activity.tzinfo is not None
    with ec.connect(kernel.id[:9], at=jupyverse.url, timeout=DEADLINE) as other:
        assert other.run("6 * 7", timeout=DEADLINE).text == "42"
    with pytest.raises(ec.ConnectionFailed, match="no kernel on .* matches 'nope'"):
        ec.connect("nope", at=jupyverse.url)
    specs = {spec.name: spec for spec in ec.list_kernelspecs(jupyverse.url)}
    assert specs["python3"].language == "python"


def test_kernel_is_interrupted_and_restarted(kernel: ec.Kernel) -> None:
    streams = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
    asleep = Collector(kernel.execute(ASLEEP))
    streams.wait_for(lambda message: "asleep" in message.content["text"])
    ec.wait(kernel.interrupt(), timeout=DEADLINE)
    assert asleep.wait_for_end()[-1].content["status"] == "error"
    ec.wait(kernel.restart(), timeout=DEADLINE)
    assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_token_in_header_is_rejected() -> None:
    with (
        Jupyverse(token="abc") as server,
        pytest.raises(ec.AuthenticationFailed, match="does not accept the token"),
    ):
        ec.launch("python3", at=server.url, token="abc")
