"""The kernel of a command: one that is started for it, or that runs; here, or on a server."""

from __future__ import annotations

import argparse

import enchannel as ec
from enchannel._cli.screen import Screen
from enchannel._cli.server import access, kernel_at, shown
from enchannel._cli.spinner import Spinner

__all__ = ["connect", "launch"]


def launch(name: str, arguments: argparse.Namespace, screen: Screen) -> ec.Kernel:
    """Start a kernel, by its kernelspec's name."""
    at: str | None = arguments.at
    if at is None:
        with Spinner(screen.err, f"starting {name}"):
            return ec.launch(name)
    told = access(at, arguments)
    with Spinner(screen.err, f"starting {name} on {shown(at)}"):
        return ec.launch(name, at=at, **told)


def connect(target: str, arguments: argparse.Namespace, screen: Screen) -> ec.Kernel:
    """Connect to a kernel that runs."""
    at: str | None = arguments.at
    told = access(at or target, arguments)
    with Spinner(screen.err, f"connecting to {shown(target)}"):
        if at is not None:
            target = kernel_at(at, target, told)
        return ec.connect(target, **told)
