"""Real kernels. One ipykernel serves the tests of a module that do it no harm."""

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
        kernel.state.subscribe()  # starts its thread, which the first test would seem to leak
        yield kernel


@pytest.fixture
def mortal() -> Iterator[ec.Kernel]:
    """One for a test that kills it."""
    with ec.launch() as kernel:
        yield kernel


@pytest.fixture(scope="module", params=KERNELS)
def any_kernel(request: pytest.FixtureRequest) -> Iterator[ec.Kernel]:
    with ec.launch(request.param) as kernel:
        kernel.state.subscribe()
        yield kernel


def settle(kernel: ec.Kernel) -> None:
    """Wait for the end of what was interrupted: requests queued behind it are aborted."""
    while kernel.run("", check=False, timeout=DEADLINE).status == "aborted":
        pass
