"""``enchannel kernels``: what could be started, and what runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import enchannel as ec
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.heartbeat_probe import answers
from enchannel._cli.server_access import access, kernels_at, kernelspecs_at
from enchannel._cli.terminal.escapes import plain
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.spinner import Spinner
from enchannel.backends import redact_url

__all__ = ["kernels"]

AT_ONCE = 32  # kernels that are looked for in parallel


@dataclass(frozen=True, slots=True)
class Kernelspec:
    """A kernel that can be started."""

    name: str
    display_name: str
    language: str


@dataclass(frozen=True, slots=True)
class Running:
    """A kernel that has a connection file; it may be all that is left of it."""

    id: str
    kernel_name: str
    transport: str
    alive: bool
    connection_file: str

    def __str__(self) -> str:
        return "alive" if self.alive else "gone"


@dataclass(frozen=True, slots=True)
class RunningAt:
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
    """List them; the exit code."""
    specs: list[Kernelspec] | None
    running: Sequence[Running | RunningAt]
    if arguments.at is None:
        specs, running = _kernelspecs(), _running(screen)
    else:
        specs, running = _at(arguments.at, arguments, screen)
    if arguments.json:
        listing = {
            "kernelspecs": None if specs is None else [asdict(spec) for spec in specs],
            "running": [asdict(kernel) for kernel in running],
        }
        screen.write(json.dumps(listing, indent=2) + "\n")
    else:
        if specs is not None:
            rows = [(spec.name, spec.language, spec.display_name) for spec in specs]
            _table(screen, ("KERNELSPEC", "LANGUAGE", "NAME"), rows, "no kernelspecs")
            screen.write("\n")
        _table(
            screen,
            ("KERNEL", "KERNELSPEC", "TRANSPORT", "STATE"),
            [(k.id, k.kernel_name or "?", k.transport, str(k)) for k in running],
            "no running kernels",
        )
    screen.flush()
    if specs is None:
        screen.say('listing kernelspecs takes jupyter_client: pip install "enchannel[kernel]"')
    return ExitCode.OK


def _at(
    server: str, arguments: argparse.Namespace, screen: Screen
) -> tuple[list[Kernelspec], list[RunningAt]]:
    """Those of a server; of the kernels, that which was at work last comes first."""
    told = access(server, arguments)
    with Spinner(screen.err, f"asking {redact_url(server)}"):
        found = kernelspecs_at(server, told)
        models = kernels_at(server, told)
    specs = [
        Kernelspec(name, str(spec.get("display_name", "")), str(spec.get("language", "")))
        for name, spec in sorted(found.items())
    ]
    running = [
        RunningAt(
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


def _kernelspecs() -> list[Kernelspec] | None:
    """Those that are installed; None without jupyter_client."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError:
        return None
    found = KernelSpecManager().get_all_specs()
    return [
        Kernelspec(name, found[name]["spec"]["display_name"], found[name]["spec"]["language"])
        for name in sorted(found)
    ]


def _running(screen: Screen) -> list[Running]:
    """Those that have a connection file, the newest first."""
    from enchannel_zmq import connection_files, read_connection_file

    files: list[tuple[Path, ec.ConnectionInfo]] = []
    for path in connection_files():
        try:
            files.append((path, read_connection_file(path)))
        except ec.ConnectionFailed as error:
            screen.say(str(error))
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="enchannel probe") as pool:
        alive = pool.map(answers, [info for _, info in files])
    return [
        Running(
            id=path.stem.removeprefix("kernel-"),
            kernel_name=info.kernel_name,
            transport=info.transport,
            alive=is_alive,
            connection_file=str(path),
        )
        for (path, info), is_alive in zip(files, alive, strict=True)
    ]


def _table(
    screen: Screen, heads: Sequence[str], rows: Iterable[Sequence[str]], if_empty: str
) -> None:
    """Columns as wide as what is in them; one line each, whatever a file says."""
    lines = [tuple(" ".join(plain(cell).split()) for cell in row) for row in rows]
    if not lines:
        screen.write(f"{if_empty}\n")
        return
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    for line in (heads, *lines):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        screen.write("  ".join(cells).rstrip() + "\n")
