"""Credentials for Jupyter servers and relays, from the command line, the environment and the terminal."""

from __future__ import annotations

import argparse
import getpass
import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

import enchannel as ec
from enchannel.backends import redact_url, token_of_url

__all__ = ["is_relay", "server_options"]

_SERVER = re.compile(r"(?:socketio\+http|http|ws)s?://", re.IGNORECASE)
_RELAY = re.compile(r"socketio\+", re.IGNORECASE)


def is_relay(url: str) -> bool:
    """Return True for the URL of a relay, False for one of a Jupyter server."""
    return _RELAY.match(url) is not None


def server_options(url: str, arguments: argparse.Namespace) -> Mapping[str, Any]:
    """Return the keyword arguments of ``connect`` and ``launch`` for a server; none for other targets.

    A token in the URL takes precedence over the environment. A password is asked for only if there is no
    token.

    Raises:
        AuthenticationFailed: a password must be entered, and there is no terminal.
    """
    if not _SERVER.match(url):
        return {}
    credentials = _credentials(url, ask_password=arguments.ask_password)
    return {"allow_http": arguments.allow_http, **credentials}


def _credentials(url: str, *, ask_password: bool) -> Mapping[str, str]:
    if is_relay(url):
        return {"token": token_of_url(url).reveal() or os.environ.get("ENCHANNEL_TOKEN", "")}
    if ask_password:
        return {"password": _ask_password(url)}
    for name, value in (
        ("token", token_of_url(url).reveal()),
        ("token", os.environ.get("JUPYTER_TOKEN")),
        ("password", os.environ.get("JUPYTER_PASSWORD")),
    ):
        if value:
            return {name: value}
    return {}


def _ask_password(url: str) -> str:
    with warnings.catch_warnings():
        # getpass warns if the password would be visible while it is typed.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(f"password for {redact_url(url)}: ")
        except (getpass.GetPassWarning, EOFError):
            raise ec.AuthenticationFailed(
                "--ask-password requires a terminal; without one, set JUPYTER_PASSWORD"
            ) from None
