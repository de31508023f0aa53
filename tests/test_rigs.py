"""The rigs do what the other tests rely on."""

import pytest
from jupyter_client.manager import start_new_kernel

from tests.rigs import DEADLINE


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["python3", "ipykernel6", "xpython", "deno"])
def test_kernel_computes(name: str) -> None:
    manager, client = start_new_kernel(startup_timeout=DEADLINE, kernel_name=name)
    results = []
    try:
        client.execute_interactive(
            "1 + 1",
            timeout=DEADLINE,
            output_hook=lambda message: results.append(message["content"]),
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
    assert any("2" in str(result.get("data")) for result in results)
