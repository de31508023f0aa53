"""Servers and relays: how the command gets to the kernels there, and who it says that it is."""

from __future__ import annotations

import argparse
import getpass
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import enchannel as ec
from enchannel.backends import redact_url, token_of_url

__all__ = ["KernelAt", "access", "kernel_at", "kernels_at", "kernelspecs_at"]

_SERVER = re.compile(r"(?:socketio\+http|http|ws)s?://", re.IGNORECASE)
_RELAY = re.compile(r"socketio\+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KernelAt:
    """A kernel on a server.

    Attributes:
        id: The server's name for it.
        name: Its kernelspec's.
        state: What it does, as the server knows it.
        last_activity: When it was last at work, as ISO 8601, if the server says so.
        url: What to give to ``enchannel.connect``.
    """

    id: str
    name: str
    state: str
    last_activity: str
    url: str


def access(url: str, arguments: argparse.Namespace) -> Mapping[str, Any]:
    """What is said to a server besides its URL; nothing where that is none. The token in a URL goes
    before what the environment says.

    Raises:
        AuthenticationFailed: a password is to be asked for, and nobody is there to type it.
    """
    if not _SERVER.match(url):
        return {}
    return {"allow_http": arguments.allow_http, **_secret(url, ask=arguments.ask_password)}


def _secret(url: str, *, ask: bool) -> Mapping[str, str]:
    """A token or a password, if there is one: who has a token is not asked for a password as well."""
    if _RELAY.match(url):
        return {"token": token_of_url(url).reveal() or os.environ.get("ENCHANNEL_TOKEN", "")}
    if ask:
        return {"password": _asked(url)}
    for name, value in (
        ("token", token_of_url(url).reveal()),
        ("token", os.environ.get("JUPYTER_TOKEN")),
        ("password", os.environ.get("JUPYTER_PASSWORD")),
    ):
        if value:
            return {name: value}
    return {}


def _asked(url: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # it would be seen while it is typed
        try:
            return getpass.getpass(f"password for {redact_url(url)}: ")
        except (getpass.GetPassWarning, EOFError):
            raise ec.AuthenticationFailed(
                "there is no terminal to ask for the password on; JUPYTER_PASSWORD may hold it"
            ) from None


def kernels_at(server: str, told: Mapping[str, Any]) -> Sequence[KernelAt]:
    """The kernels that run on a server; for ``told`` see ``access``.

    Raises:
        ConnectionFailed: also where what it takes is not installed.
    """
    if _RELAY.match(server):
        with _installed("socketio"):
            from enchannel_socketio import list_kernels as on_relay
        base = redact_url(server).rstrip("/")
        return [
            KernelAt(model.id, model.name, model.state, "", f"{base}/{model.id}")
            for model in on_relay(server, **told)
        ]
    with _installed("websocket"):
        from enchannel_websocket import list_kernels
    return [
        KernelAt(model.id, model.name, model.state, model.last_activity, model.url)
        for model in list_kernels(server, **told)
    ]


def kernelspecs_at(server: str, told: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """What can be started on a server, by name; see ``kernels_at``."""
    if _RELAY.match(server):
        with _installed("socketio"):
            from enchannel_socketio import list_kernelspecs as on_relay
        return on_relay(server, **told)
    with _installed("websocket"):
        from enchannel_websocket import list_kernelspecs
    return list_kernelspecs(server, **told)


def kernel_at(server: str, name: str, told: Mapping[str, Any]) -> str:
    """The URL of a kernel that runs on a server; see ``kernels_at``.

    Args:
        name: Its id, or a beginning of that which only one has.

    Raises:
        ConnectionFailed: there is none, or more than one.
    """
    kernels = kernels_at(server, told)
    matching = [kernel for kernel in kernels if name and kernel.id.startswith(name)]
    if len(matching) == 1:
        return matching[0].url
    known = ", ".join(kernel.id for kernel in matching or kernels) or "none"
    raise ec.ConnectionFailed(
        f"{name!r} is the beginning of more than one kernel: {known}"
        if matching
        else f"no kernel on {redact_url(server)} is called {redact_url(name)!r}; there are: {known}"
    )


@contextmanager
def _installed(extra: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ec.BackendNotFound(
            f'{error}; what is on a server can be told with pip install "enchannel[{extra}]"'
        ) from error
