"""``enchannel relay``."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

import enchannel as ec
from enchannel._cli.error_text import reporting_invalid_arguments
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Signals, Terminated

if TYPE_CHECKING:
    from enchannel_socketio.relay import Relay

__all__ = ["relay"]

TOKEN_VARIABLE = "ENCHANNEL_TOKEN"  # noqa: S105  # the name of a variable
# The option or variable that sets each argument of Relay.
ARGUMENT_SOURCES = {"hosts": "--allow-host", "origins": "--allow-origin", "token": TOKEN_VARIABLE}


def relay(arguments: argparse.Namespace, screen: Screen) -> int:
    """Serve kernels until the command is stopped; return the exit code."""
    with Signals() as signals:
        try:
            return _serve(arguments, screen, signals)
        except Terminated as terminated:
            return ExitCode.OK if terminated.is_stop_request else terminated.exit_code


def _serve(arguments: argparse.Namespace, screen: Screen, signals: Signals) -> int:
    from enchannel_socketio.relay import InvalidRelayOption, RelayServer

    token = os.environ.get(TOKEN_VARIABLE)
    try:
        relay = _make_relay(arguments, token)
    except InvalidRelayOption as error:
        source = ARGUMENT_SOURCES[error.argument]
        raise ec.ConnectionFailed(f"{source} {error.requirement}") from None
    server = RelayServer(
        relay,
        host=arguments.host,
        port=arguments.port,
        certfile=arguments.certfile,
        keyfile=arguments.keyfile,
    )

    def on_started() -> None:
        screen.write(f"{server.url}/?token={relay.one_time_token()}\n")
        screen.flush()
        screen.print_message(
            "open the link in a browser; it works once, within an hour. Press Ctrl-C to stop the relay"
        )
        if token is None:
            screen.print_message(
                f"access token for programs: {TOKEN_VARIABLE}={relay.token.reveal()}"
            )

    try:
        # A target of --share may be invalid.
        with reporting_invalid_arguments():
            server.run(on_started)
    finally:
        signals.start_shutdown()
    return ExitCode.OK


def _make_relay(arguments: argparse.Namespace, token: str | None) -> Relay:
    from enchannel_socketio.relay import Bounds, Limits, Relay, make_store

    return Relay(
        token=token,
        store=make_store(
            arguments.store, Bounds(messages=arguments.log_messages, bytes=arguments.log_bytes)
        ),
        limits=Limits(
            max_message=arguments.max_message,
            kernels=arguments.max_kernels,
            connections=arguments.max_connections,
        ),
        hosts=[*arguments.allow_host, *_listen_address(arguments.host)],
        origins=arguments.allow_origin,
        allow_spawn=not arguments.no_spawn,
        share=arguments.share,
    )


def _listen_address(host: str) -> list[str]:
    """Return the address to which clients connect, unless the relay listens on all addresses."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104  # only compared
        return []
    return [f"[{host}]" if ":" in host else host]
