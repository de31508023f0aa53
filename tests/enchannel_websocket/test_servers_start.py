"""The real servers that the tests use."""

import pytest

from tests.rigs.servers import SERVERS, Server

pytestmark = pytest.mark.kernel


def kernels(server: Server) -> list[str]:
    return [kernel["id"] for kernel in server.request("GET", "api/kernels")]


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.name)
def test_real_server_runs_a_kernel(kind: type[Server]) -> None:
    with kind(token="a token of the tests") as server:
        assert "python3" in server.request("GET", "api/kernelspecs")["kernelspecs"]
        kernel_id = server.start_kernel()
        assert kernels(server) == [kernel_id]
        server.delete_kernel(kernel_id)
        assert kernels(server) == []
