"""A real Jupyter server in a separate process, with its own directories and one ipykernel."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

__all__ = ["ServedKernel", "ServerFailed", "read_served", "served"]

HOST = "127.0.0.1"
START_TIMEOUT = 60.0  # for the server and its kernel
EXIT_TIMEOUT = 10.0


class ServerFailed(Exception):
    """The server did not start; the text contains its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedKernel:
    """A kernel on a server.

    Attributes:
        server: The URL of the server, without a trailing slash.
        token: The token of the server.
        id: The id of the kernel.
    """

    server: str
    token: str
    id: str

    @property
    def url(self) -> str:
        """The URL of the kernel."""
        return f"{self.server}/api/kernels/{self.id}"

    @property
    def channels(self) -> str:
        """The URL of its WebSocket."""
        return f"ws{self.url.removeprefix('http')}/channels"


def read_served(path: Path) -> ServedKernel:
    """Read the file that ``served`` writes."""
    return ServedKernel(**json.loads(path.read_text()))


@contextmanager
def served(directory: Path) -> Iterator[Path]:
    """Run a server with a kernel for the block, and return a file with their addresses."""
    with _server(directory) as (url, token):
        kernel_id = _call("POST", f"{url}/api/kernels", token, {"name": "python3"})["id"]
        kernel = ServedKernel(server=url, token=token, id=kernel_id)
        path = directory / "served.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(kernel)))
        yield path
        _call("DELETE", kernel.url, token)


@contextmanager
def _server(directory: Path) -> Iterator[tuple[str, str]]:
    """Run a server for the block, and return its URL and token; leave no process behind."""
    token, port = secrets.token_hex(), _free_port()
    command = [
        *(sys.executable, "-P", "-m", "jupyter_server", "--no-browser", "--allow-root"),
        *(f"--ServerApp.ip={HOST}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={directory}", "--ServerApp.terminals_enabled=False"),
        # By default it drops messages above a rate of 1,000 per second.
        "--ZMQChannelsWebsocketConnection.limit_rate=False",
    ]
    with (directory / "output.txt").open("w") as output:
        process = subprocess.Popen(
            command,
            env=_environment(directory, token),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C must reach only this process, which terminates the server.
            start_new_session=True,
        )
    try:
        url = f"http://{HOST}:{port}"
        _wait_for(url, token, process, Path(output.name))
        yield url, token
    finally:
        _end(process)


def _environment(directory: Path, token: str) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON"))}
    folders = {
        name: str(directory / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    return inherited | folders | {"JUPYTER_NO_CONFIG": "1", "JUPYTER_TOKEN": token}


def _wait_for(url: str, token: str, process: subprocess.Popen[bytes], output: Path) -> None:
    end = perf_counter() + START_TIMEOUT
    while perf_counter() < end and process.poll() is None:
        with suppress(OSError):
            _call("GET", f"{url}/api/status", token)
            return
        time.sleep(0.05)
    raise ServerFailed(f"the server did not start:\n{output.read_text().strip()}")


def _call(method: str, url: str, token: str, body: object = None) -> Any:
    request = urllib.request.Request(  # noqa: S310  # the URL is http
        url,
        method=method,
        headers={"Authorization": f"token {token}"},
        data=None if body is None else json.dumps(body).encode(),
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=START_TIMEOUT) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a server, which shuts down its kernels, and kill the remaining processes."""
    children = []
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
