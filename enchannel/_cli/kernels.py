"""``enchannel kernels``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import enchannel as ec
from enchannel._cli.error_text import error_text
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.heartbeat_probe import is_alive
from enchannel._cli.server_access import server_options
from enchannel._cli.server_kernels import list_server_kernels, list_server_kernelspecs
from enchannel._cli.terminal.escapes import strip_escapes
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.spinner import Spinner
from enchannel.backends import redact_url

__all__ = ["kernels"]

MAX_PARALLEL_PROBES = 32


@dataclass(frozen=True, slots=True)
class Kernelspec:
    """A kind of kernel that can be started."""

    name: str
    display_name: str
    language: str


@dataclass(frozen=True, slots=True)
class LocalKernelRow:
    """A kernel with a connection file, which may have outlived it."""

    id: str
    kernel_name: str
    transport: str
    alive: bool
    connection_file: str

    def __str__(self) -> str:
        return "alive" if self.alive else "gone"


@dataclass(frozen=True, slots=True)
class ServerKernelRow:
    """A kernel on a server."""

    id: str
    kernel_name: str
    transport: str
    alive: bool
    state: str
    url: str

    def __str__(self) -> str:
        return self.state


def kernels(arguments: argparse.Namespace, screen: Screen) -> int:
    """List kernelspecs and running kernels; return the exit code."""
    specs: list[Kernelspec] | None
    running: Sequence[LocalKernelRow | ServerKernelRow]
    if arguments.at is None:
        specs, running = _installed_kernelspecs(), _local_kernels(screen)
    else:
        specs, running = _on_server(arguments.at, arguments, screen)
    if arguments.json:
        listing = {
            "kernelspecs": None if specs is None else [asdict(spec) for spec in specs],
            "running": [asdict(kernel) for kernel in running],
        }
        screen.write(json.dumps(listing, indent=2) + "\n")
    else:
        if specs is not None:
            rows = [(spec.name, spec.language, spec.display_name) for spec in specs]
            _write_table(screen, ("KERNELSPEC", "LANGUAGE", "NAME"), rows, "no kernelspecs")
            screen.write("\n")
        _write_table(
            screen,
            ("KERNEL", "KERNELSPEC", "TRANSPORT", "STATE"),
            [(k.id, k.kernel_name or "?", k.transport, str(k)) for k in running],
            "no running kernels",
        )
    screen.flush()
    if specs is None:
        screen.print_message(
            'listing kernelspecs requires jupyter_client; pip install "enchannel[kernel]"'
        )
    return ExitCode.OK


def _on_server(
    server: str, arguments: argparse.Namespace, screen: Screen
) -> tuple[list[Kernelspec], list[ServerKernelRow]]:
    """Return the kernelspecs and kernels of a server; the kernel with the latest activity is first."""
    options = server_options(server, arguments)
    with Spinner(screen.err, f"listing kernels on {redact_url(server)}"):
        found = list_server_kernelspecs(server, options)
        models = list_server_kernels(server, options)
    specs = [
        Kernelspec(name, str(spec.get("display_name", "")), str(spec.get("language", "")))
        for name, spec in sorted(found.items())
    ]
    running = [
        ServerKernelRow(
            id=model.id,
            kernel_name=model.name,
            transport=model.url.partition(":")[0],
            alive=model.state != "dead",
            state=model.state,
            url=model.url,
        )
        for model in sorted(models, key=lambda model: model.last_activity, reverse=True)
    ]
    return specs, running


def _installed_kernelspecs() -> list[Kernelspec] | None:
    """Return the kernelspecs of this machine, or None without jupyter_client."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError:
        return None
    found = KernelSpecManager().get_all_specs()
    return [
        Kernelspec(name, found[name]["spec"]["display_name"], found[name]["spec"]["language"])
        for name in sorted(found)
    ]


def _local_kernels(screen: Screen) -> list[LocalKernelRow]:
    """Return the kernels with a connection file, the newest first."""
    from enchannel_zmq import connection_files, read_connection_file

    files: list[tuple[Path, ec.ConnectionInfo]] = []
    for path in connection_files():
        try:
            files.append((path, read_connection_file(path)))
        except ec.ConnectionFailed as error:
            screen.print_message(error_text(error))
    with ThreadPoolExecutor(MAX_PARALLEL_PROBES, thread_name_prefix="enchannel probe") as pool:
        states = pool.map(is_alive, [info for _, info in files])
    return [
        LocalKernelRow(
            id=path.stem.removeprefix("kernel-"),
            kernel_name=info.kernel_name,
            transport=info.transport,
            alive=alive,
            connection_file=str(path),
        )
        for (path, info), alive in zip(files, states, strict=True)
    ]


def _write_table(
    screen: Screen, heads: Sequence[str], rows: Iterable[Sequence[str]], if_empty: str
) -> None:
    """Write a table with one line a row; newlines and escape sequences in a cell are removed."""
    lines = [tuple(" ".join(strip_escapes(cell).split()) for cell in row) for row in rows]
    if not lines:
        screen.write(f"{if_empty}\n")
        return
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    for line in (heads, *lines):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        screen.write("  ".join(cells).rstrip() + "\n")
