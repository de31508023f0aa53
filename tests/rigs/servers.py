"""Real Jupyter servers to test against, each in a virtual environment of its own.

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
HOST = "127.0.0.1"
# Below those that the system gives away: a server that is down stays down.
PORTS = range(20_000, 32_000)
# Whatever configures the tests' own Jupyter or Python is none of the server's.
NOT_INHERITED = ("JUPYTER_", "IPYTHON", "KERNEL_", "KG_", "EG_", "PYTHON", "COVERAGE_")


def installed() -> Path:
    return Path(os.environ.get("ENCHANNEL_TEST_SERVERS", DEFAULT)).absolute()


class PortTaken(Exception):
    """Somebody else was faster."""


@dataclass(eq=False, kw_only=True)
class Server:
    """A server in a process of its own, with a home of its own; a context, which it ends with.

    ``options`` are traitlets', by class: ``{"MappingKernelManager": {"cull_interval": 1}}``.
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
        """Where it is, without a slash at the end."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{HOST}:{self.port}{self.base_url}".rstrip("/")

    @property
    def home(self) -> Path:
        return Path(self._directory.name)

    @property
    def certificate(self) -> Path:
        """What a client trusts that means this server, and no other."""
        return self.home / "certificate.pem"

    def output(self) -> str:
        """All that it has said."""
        return (self.home / "output.txt").read_text(errors="replace")

    def __enter__(self) -> Self:
        # Not pytest's own tmp_path: a socket's path must stay short.
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
            print(f"{self.name} said:\n{self.output()}", file=sys.stderr)
        self._directory.cleanup()

    def start(self) -> None:
        """Start it at its port, and return when it answers."""
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
            raise TimeoutError(f"{self.name} does not answer; it said:\n{self.output()}")

    def stop(self) -> None:
        """Ask it to end, and wait until it has: it shuts its kernels down."""
        kernels = self._kernels()
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(DEADLINE)
        kill(kernels)
        self.kill()

    def kill(self) -> None:
        """End it and its kernels at once, as a crash would."""
        if self.process.poll() is None:
            psutil.Process(self.process.pid).suspend()  # It starts no more kernels.
            kill(self._kernels())
            self.process.kill()
            self.process.wait(DEADLINE)

    def restart(self) -> None:
        """Stop it, and start it at the same port, with the same home."""
        self.stop()
        self.start()

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Ask for what is at a path like ``api/kernels``, as a client of its own; the JSON of it.

        It shows the token; a server with nothing but a password refuses it.

        Raises:
            urllib.error.HTTPError: The answer is no; what it says is a note of the error.
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
        """Have it start a kernel; the kernel's id."""
        return str(self.request("POST", "api/kernels", {"name": name, **more})["id"])

    def delete_kernel(self, kernel_id: str) -> None:
        self.request("DELETE", f"api/kernels/{kernel_id}")

    def command(self, config: Path) -> list[str]:
        return [str(self._program()), f"--config={config}"]

    def settings(self) -> dict[str, dict[str, object]]:
        """What configures it as this object says."""
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
            raise FileNotFoundError(f"no {path}: install it with python {__file__} {self.root}")
        return path

    def _start_somewhere(self) -> None:
        for _ in range(3):
            self.port = free_port()
            with suppress(PortTaken):
                return self.start()
        raise PortTaken(f"{self.name} found no port; it said:\n{self.output()}")

    def _answers(self) -> bool:
        if (code := self.process.poll()) is not None:
            error = RuntimeError if is_free(self.port) else PortTaken
            raise error(f"{self.name} ended with {code}; it said:\n{self.output()}")
        try:
            with self._open("GET", "api"):
                pass
        except urllib.error.HTTPError as error:
            error.close()  # Even a refusal is an answer.
        except OSError:
            return False
        # It may be somebody else who answers.
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
            # Without a token, jupyter_server wants the same word twice.
            headers={"Cookie": "_xsrf=word", "X-XSRFToken": "word"},
            data=None if body is None else json.dumps(body).encode(),
        )
        return urllib.request.build_opener(*handlers).open(request, timeout=DEADLINE)

    def _kernels(self) -> list[psutil.Process]:
        if self.process.poll() is not None:
            return []  # By now its number may be another's.
        return psutil.Process(self.process.pid).children(recursive=True)


@dataclass(eq=False, kw_only=True)
class JupyterServer(Server):
    """What JupyterLab stands on."""

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
    """Kernels without the rest of a Jupyter server."""

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
    """Kernels all over a cluster; on jupyter_server 1 and jupyter_client 6."""

    name = "enterprise_gateway"
    requirements = ("jupyter_enterprise_gateway>=3.2,<4", "ipykernel<7")
    program = "jupyter-enterprisegateway"
    app = "EnterpriseGatewayApp"

    def settings(self) -> dict[str, dict[str, object]]:
        # It starts no kernel for root, unless told so.
        more = {"auth_token": self.token, "list_kernels": True, "unauthorized_users": []}
        return merged(super().settings(), {"EnterpriseGatewayApp": more})


@dataclass(eq=False, kw_only=True)
class Jupyverse(Server):
    """The server that is no tornado; it has no TLS here, and a base_url only in what it says.

    Its options are not traitlets, but ``arguments=("--set", "kernels.default_kernel=xpython")``.
    """

    name = "jupyverse"
    # Without what concerns documents, which is most of it.
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
        # Its own is one second, in which a busy machine is not ready.
        where = [f"--host={HOST}", f"--port={self.port}", f"--timeout={DEADLINE}"]
        return [str(self._program()), *where, *flags]

    def start_kernel(self, name: str = "python3", **more: object) -> str:
        session = {"path": "work", "name": "work", "type": "notebook", "kernel": {"name": name}}
        return str(self.request("POST", "api/sessions", session | more)["kernel"]["id"])

    def delete_kernel(self, kernel_id: str) -> None:
        for session in self.request("GET", "api/sessions"):
            if session["kernel"]["id"] == kernel_id:
                self.request("DELETE", f"api/sessions/{session['id']}")


# What enterprise_gateway wants of pyzmq has no wheel for a later Python.
OLDER: tuple[type[Server], ...] = (EnterpriseGateway,) if sys.version_info < (3, 12) else ()
SERVERS: tuple[type[Server], ...] = (JupyterServer, KernelGateway, *OLDER, Jupyverse)


def free_port() -> int:
    """A port that is free now."""
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
    """Write a certificate for HOST, signed by itself."""
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    extensions = [f"subjectAltName=IP:{HOST}", "keyUsage=critical,digitalSignature,keyCertSign"]
    added = [word for extension in extensions for word in ("-addext", extension)]
    files = ["-subj", "/CN=enchannel", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*openssl, *added, *files], check=True, capture_output=True)


def merged(
    one: Mapping[str, Mapping[str, object]], other: Mapping[str, Mapping[str, object]]
) -> dict[str, dict[str, object]]:
    """Both, class by class; where they differ, the other."""
    return {name: {**one.get(name, {}), **other.get(name, {})} for name in {**one, **other}}


def main(root: Path = DEFAULT) -> None:
    """Install every server under ``root``."""
    with locked(root) as root:
        for server in SERVERS:
            install(root / server.name, server.requirements)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
