"""Real Jupyter servers for the tests, each in its own virtual environment.

``python tests/rigs/servers.py DIR`` installs them; ENCHANNEL_TEST_SERVERS=DIR finds them.
"""

import hashlib
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import quote

import psutil

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from tests.rigs import DEADLINE, eventually
from tests.rigs.environments import install, locked, program

DEFAULT = Path(__file__).parents[2] / ".tox" / "servers"
# Imported at each start of a server or of a kernel: rfc3987-syntax compiles grammars for over a second,
# for checks that jupyter_server does not make, and debugpy takes a fifth of the start of a kernel.
UNWANTED = ("rfc3987-syntax", "debugpy")
HOST = "127.0.0.1"
# Below the ephemeral ports: no other process gets the port of a stopped server.
PORTS = range(20_000, 32_000)
# Variables that configure Jupyter or Python for the tests, which the servers must not inherit.
NOT_INHERITED = ("JUPYTER_", "IPYTHON", "KERNEL_", "KG_", "EG_", "PYTHON", "COVERAGE_")


def installed() -> Path:
    return Path(os.environ.get("ENCHANNEL_TEST_SERVERS", DEFAULT)).absolute()


class PortTaken(Exception):
    """Another process bound the port first."""


@dataclass(eq=False, kw_only=True)
class Server:
    """A server process with its own home directory; ``with`` starts and stops it.

    ``options`` configures traitlets, by class: ``{"MappingKernelManager": {"cull_interval": 1}}``.
    """

    name: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]]
    program: ClassVar[str]
    app: ClassVar[str]

    token: str = ""
    base_url: str = "/"
    tls: bool = False
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict[str, Any])
    arguments: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    jupyter_path: Path | None = None
    root: Path = field(default_factory=installed)

    port: int = field(init=False, default=0)
    process: subprocess.Popen[bytes] = field(init=False, repr=False)
    _directory: tempfile.TemporaryDirectory[str] = field(init=False, repr=False)

    @property
    def url(self) -> str:
        """The URL of the server, without a slash at the end."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{HOST}:{self.port}{self.base_url}".rstrip("/")

    @property
    def home(self) -> Path:
        return Path(self._directory.name)

    @property
    def certificate(self) -> Path:
        """The certificate for clients that trust this server only."""
        return self.home / "certificate.pem"

    def output(self) -> str:
        """Return the output of the process."""
        return (self.home / "output.txt").read_text(errors="replace")

    def __enter__(self) -> Self:
        # Not pytest's tmp_path: the path of a socket must be short.
        self._directory = tempfile.TemporaryDirectory(prefix="ec-", ignore_cleanup_errors=True)
        try:
            (self.home / "work").mkdir()
            if self.tls:
                certify(self.certificate, self.home / "key.pem")
            self._start_somewhere()
        except BaseException:
            self._directory.cleanup()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        if error is not None:
            print(f"the output of {self.name}:\n{self.output()}", file=sys.stderr)
        self._directory.cleanup()

    def start(self) -> None:
        """Start the process on the same port, and wait until it answers."""
        config = self.home / "config.json"
        config.write_text(json.dumps(merged(self.settings(), self.options)))
        with (self.home / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                [*self.command(config), *self.arguments],
                cwd=self.home / "work",
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            answered = eventually(self._answers)
        except BaseException:
            self.kill()
            raise
        if not answered:
            self.kill()
            raise TimeoutError(
                f"{self.name} did not answer within {DEADLINE:g} s; its output:\n{self.output()}"
            )

    def stop(self) -> None:
        """Terminate the server, which shuts down its kernels, and wait until it has ended."""
        kernels = self._kernels()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(DEADLINE)
        kill(kernels)
        self.kill()

    def kill(self) -> None:
        """Kill the server and its kernels, as a crash of the machine does."""
        if self.process.poll() is None:
            psutil.Process(self.process.pid).suspend()  # it cannot start more kernels
            kill(self._kernels())
            self.process.kill()
            self.process.wait(DEADLINE)

    def restart(self) -> None:
        """Stop the server, and start it on the same port with the same home directory."""
        self.stop()
        self.start()

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to a path like ``api/kernels``, with the token; return the decoded JSON.

        Raises:
            urllib.error.HTTPError: The server refused; the body of its answer is a note of the error.
        """
        try:
            with self._open(method, path, body) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                error.add_note(error.read().decode(errors="replace"))
            raise
        return json.loads(text) if text else None

    def start_kernel(self, name: str = "python3", **more: object) -> str:
        """Start a kernel on the server; return its id."""
        return str(self.request("POST", "api/kernels", {"name": name, **more})["id"])

    def delete_kernel(self, kernel_id: str) -> None:
        self.request("DELETE", f"api/kernels/{kernel_id}")

    def command(self, config: Path) -> list[str]:
        return [str(self._program()), f"--config={config}"]

    def settings(self) -> dict[str, dict[str, object]]:
        """Return the traitlets configuration of this server."""
        app: dict[str, object] = {
            "ip": HOST,
            "port": self.port,
            "port_retries": 0,
            "base_url": self.base_url,
        }
        if self.tls:
            app |= {"certfile": str(self.certificate), "keyfile": str(self.home / "key.pem")}
        return {self.app: app}

    def environment(self) -> dict[str, str]:
        home = self.home
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(NOT_INHERITED)}
        return inherited | {
            "HOME": str(home),
            "PATH": os.pathsep.join((str(self._program().parent), os.environ["PATH"])),
            "JUPYTER_NO_CONFIG": "1",
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTER_PATH": str(self.jupyter_path or ""),
            "IPYTHONDIR": str(home / "ipython"),
            **self.env,
        }

    def _program(self) -> Path:
        path = program(self.root / self.name, self.program)
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist; install it with python {__file__} {self.root}"
            )
        return path

    def _start_somewhere(self) -> None:
        for _ in range(3):
            self.port = free_port()
            with suppress(PortTaken):
                return self.start()
        raise PortTaken(f"{self.name} found no free port; its output:\n{self.output()}")

    def _answers(self) -> bool:
        if (code := self.process.poll()) is not None:
            error = RuntimeError if is_free(self.port) else PortTaken
            raise error(f"{self.name} exited with code {code}; its output:\n{self.output()}")
        try:
            with self._open("GET", "api"):
                pass
        except urllib.error.HTTPError as error:
            error.close()  # a refusal is an answer
        except OSError:
            return False
        # Another process may have answered.
        links = psutil.Process(self.process.pid).net_connections("tcp")
        return any(link.laddr and link.laddr.port == self.port for link in links)

    def _open(self, method: str, path: str, body: object = None) -> Any:
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.tls:
            trusting = ssl.create_default_context(cafile=self.certificate)
            handlers.append(urllib.request.HTTPSHandler(context=trusting))
        request = urllib.request.Request(  # noqa: S310 - it is http or https
            f"{self.url}/{path}?token={quote(self.token)}",
            method=method,
            # Without a token, jupyter_server expects the same value in cookie and header.
            headers={"Cookie": "_xsrf=word", "X-XSRFToken": "word"},
            data=None if body is None else json.dumps(body).encode(),
        )
        return urllib.request.build_opener(*handlers).open(request, timeout=DEADLINE)

    def _kernels(self) -> list[psutil.Process]:
        if self.process.poll() is not None:
            # Another process may have its id now.
            return []
        return psutil.Process(self.process.pid).children(recursive=True)


@dataclass(eq=False, kw_only=True)
class JupyterServer(Server):
    """The server of JupyterLab."""

    name = "jupyter_server"
    requirements = ("jupyter_server>=2.17", "ipykernel>=7")
    program = "jupyter-server"
    app = "ServerApp"

    password: str = ""

    def settings(self) -> dict[str, dict[str, object]]:
        hashed = hashlib.sha256(self.password.encode()).hexdigest() if self.password else ""
        more: dict[str, dict[str, object]] = {
            "ServerApp": {
                "allow_root": True,
                "open_browser": False,
                "terminals_enabled": False,
                "root_dir": str(self.home / "work"),
            },
            "IdentityProvider": {"token": self.token},
            # As jupyter_server.auth.passwd writes it, without a salt.
            "PasswordIdentityProvider": {"hashed_password": hashed and f"sha256::{hashed}"},
        }
        return merged(super().settings(), more)


@dataclass(eq=False, kw_only=True)
class KernelGateway(Server):
    """A server with kernels only."""

    name = "kernel_gateway"
    requirements = ("jupyter_kernel_gateway>=3", "ipykernel>=7")
    program = "jupyter-kernelgateway"
    app = "KernelGatewayApp"

    def settings(self) -> dict[str, dict[str, object]]:
        more: dict[str, dict[str, object]] = {
            "KernelGatewayApp": {"auth_token": self.token},
            "JupyterWebsocketPersonality": {"list_kernels": True},
        }
        return merged(super().settings(), more)


@dataclass(eq=False, kw_only=True)
class EnterpriseGateway(Server):
    """The server for kernels in a cluster, with jupyter_server 1 and jupyter_client 6."""

    name = "enterprise_gateway"
    requirements = ("jupyter_enterprise_gateway>=3.2,<4", "ipykernel<7")
    program = "jupyter-enterprisegateway"
    app = "EnterpriseGatewayApp"

    def settings(self) -> dict[str, dict[str, object]]:
        # By default it starts no kernels for root.
        more = {"auth_token": self.token, "list_kernels": True, "unauthorized_users": []}
        return merged(super().settings(), {"EnterpriseGatewayApp": more})


@dataclass(eq=False, kw_only=True)
class Jupyverse(Server):
    """The server that is not based on tornado; without TLS here, and with base_url in its pages only.

    It is not configured by traitlets but by ``arguments=("--set", "kernels.default_kernel=xpython")``.
    """

    name = "jupyverse"
    # Without the packages for documents, which are most of it.
    requirements = (
        "jupyverse-api",
        "fps[click,fastapi,anycorn]",
        "fps-auth",
        "fps-file-watcher",
        "fps-frontend",
        "fps-kernel-subprocess",
        "fps-kernels",
        "fps-login",
        "ipykernel>=7",
    )
    program = "jupyverse"
    app = ""

    def command(self, config: Path) -> list[str]:
        auth = {"directory": self.home, "mode": "token" if self.token else "noauth"}
        auth |= {"token": self.token} if self.token else {}
        settings = [f"auth.{name}={value}" for name, value in auth.items()]
        settings.append(f"frontend.base_url={self.base_url}")
        flags = [flag for setting in settings for flag in ("--set", setting)]
        # The default is one second, which is not enough on a busy machine.
        where = [f"--host={HOST}", f"--port={self.port}", f"--timeout={DEADLINE}"]
        return [str(self._program()), *where, *flags]

    def start_kernel(self, name: str = "python3", **more: object) -> str:
        session = {"path": "work", "name": "work", "type": "notebook", "kernel": {"name": name}}
        return str(self.request("POST", "api/sessions", session | more)["kernel"]["id"])

    def delete_kernel(self, kernel_id: str) -> None:
        for session in self.request("GET", "api/sessions"):
            if session["kernel"]["id"] == kernel_id:
                self.request("DELETE", f"api/sessions/{session['id']}")


# The pyzmq that enterprise_gateway requires has no wheels for later Pythons.
GATEWAYS: tuple[type[Server], ...] = (EnterpriseGateway,) if sys.version_info < (3, 12) else ()
SERVERS: tuple[type[Server], ...] = (JupyterServer, KernelGateway, *GATEWAYS, Jupyverse)


def free_port() -> int:
    """Return a free port."""
    return next(filter(is_free, random.sample(PORTS, len(PORTS))))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def certify(certificate: Path, key: Path) -> None:
    """Write a self-signed certificate for HOST."""
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    extensions = [f"subjectAltName=IP:{HOST}", "keyUsage=critical,digitalSignature,keyCertSign"]
    added = [word for extension in extensions for word in ("-addext", extension)]
    files = ["-subj", "/CN=enchannel", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*openssl, *added, *files], check=True, capture_output=True)


def merged(
    one: Mapping[str, Mapping[str, object]], other: Mapping[str, Mapping[str, object]]
) -> dict[str, dict[str, object]]:
    """Merge two configurations, class by class; ``other`` takes precedence."""
    return {name: {**one.get(name, {}), **other.get(name, {})} for name in {**one, **other}}


def main(root: Path = DEFAULT) -> None:
    """Install every server under ``root``."""
    with locked(root) as root:
        for server in SERVERS:
            install(root / server.name, server.requirements, UNWANTED)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
