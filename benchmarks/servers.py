"""A real Jupyter server in a process of its own, with a home of its own and one ipykernel."""

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
STARTING = 60.0  # seconds that a server and its kernel are given to come up
ENDING = 10.0


class ServerFailed(Exception):
    """It did not come up; the text has what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedKernel:
    """A kernel on a server.

    Attributes:
        server: The server's URL, without a slash at its end.
        token: What the server knows us by.
        id: The kernel's.
    """

    server: str
    token: str
    id: str

    @property
    def url(self) -> str:
        """The kernel's."""
        return f"{self.server}/api/kernels/{self.id}"

    @property
    def channels(self) -> str:
        """Its WebSocket's."""
        return f"ws{self.url.removeprefix('http')}/channels"


def read_served(path: Path) -> ServedKernel:
    """What `served` has written."""
    return ServedKernel(**json.loads(path.read_text()))


@contextmanager
def served(directory: Path) -> Iterator[Path]:
    """A server with a kernel, until the end of the block; the file that says where."""
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
    """Its URL and token; however the block ends, no process of it is left."""
    token, port = secrets.token_hex(), _free_port()
    command = [
        *(sys.executable, "-P", "-m", "jupyter_server", "--no-browser", "--allow-root"),
        *(f"--ServerApp.ip={HOST}", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={directory}", "--ServerApp.terminals_enabled=False"),
        # Else it drops what comes faster than 1,000 messages a second.
        "--ZMQChannelsWebsocketConnection.limit_rate=False",
    ]
    with (directory / "output.txt").open("w") as output:
        process = subprocess.Popen(
            command,
            env=_environment(directory, token),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for who started it, who ends it
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
    end = perf_counter() + STARTING
    while perf_counter() < end and process.poll() is None:
        with suppress(OSError):
            _call("GET", f"{url}/api/status", token)
            return
        time.sleep(0.05)
    raise ServerFailed(f"the server did not start:\n{output.read_text().strip()}")


def _call(method: str, url: str, token: str, body: object = None) -> Any:
    request = urllib.request.Request(  # noqa: S310  # it is http
        url,
        method=method,
        headers={"Authorization": f"token {token}"},
        data=None if body is None else json.dumps(body).encode(),
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=STARTING) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """A server that is told to end shuts its kernels down; what is left then is killed."""
    family = []
    if process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            process.wait(ENDING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
