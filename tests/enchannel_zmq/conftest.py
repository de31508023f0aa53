"""Real kernels. The tests of a module share one ipykernel, unless they kill it."""

from collections.abc import Iterator

import pytest

import enchannel as ec
from tests.rigs import DEADLINE

KERNELS = {
    "python3": "print('woo'); 6 * 7",
    "ipykernel6": "print('woo'); 6 * 7",
    "xpython": "print('woo'); 6 * 7",
    "deno": "console.log('woo'); 6 * 7",
}


@pytest.fixture(scope="module")
def kernel() -> Iterator[ec.Kernel]:
    with ec.launch() as kernel:
        # Starts the delivery thread, which the first test would otherwise seem to leak.
        kernel.state.subscribe()
        yield kernel


@pytest.fixture
def mortal() -> Iterator[ec.Kernel]:
    """Launch a kernel for a test that kills it."""
    with ec.launch() as kernel:
        yield kernel


@pytest.fixture(scope="module", params=KERNELS)
def any_kernel(request: pytest.FixtureRequest) -> Iterator[ec.Kernel]:
    with ec.launch(request.param) as kernel:
        kernel.state.subscribe()
        yield kernel


def settle(kernel: ec.Kernel) -> None:
    """Wait until interrupted code has ended; until then the kernel aborts queued requests."""
    while kernel.run("", check=False, timeout=DEADLINE).status == "aborted":
        pass
