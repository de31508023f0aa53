"""``enchannel relay``."""

from __future__ import annotations

import argparse
import os
import signal
from typing import TYPE_CHECKING

import enchannel as ec
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Ended, Signals

if TYPE_CHECKING:
    from enchannel_socketio.relay import Relay

__all__ = ["relay"]

TOKEN = "ENCHANNEL_TOKEN"  # noqa: S105  # a name
ARGUMENT_SOURCES = {"hosts": "--allow-host", "origins": "--allow-origin", "token": TOKEN}
WANTED = {128 + signal.SIGINT, 128 + signal.SIGTERM}  # ends that are as good as any


def relay(arguments: argparse.Namespace, screen: Screen) -> int:
    """Serve kernels until somebody ends it; the exit code."""
    with Signals(on_hurry=lambda: None) as signals:
        try:
            return _relay(arguments, screen, signals)
        except Ended as ended:
            return ExitCode.OK if ended.exit_code in WANTED else ended.exit_code


def _relay(arguments: argparse.Namespace, screen: Screen, signals: Signals) -> int:
    try:
        from enchannel_socketio.relay import InvalidRelayOption, RelayServer
    except ImportError as error:
        raise ec.BackendNotFound(
            f'{error}; a relay can be run with pip install "enchannel[socketio]"'
        ) from error
    given = os.environ.get(TOKEN)
    try:
        relay = _made(arguments, given)
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

    def started() -> None:
        screen.write(f"{server.url}/?token={relay.link()}\n")
        screen.flush()
        screen.say("the link is good once, for a browser, within an hour; Ctrl-C ends the relay")
        if given is None:
            screen.say(f"for programs: {TOKEN}={relay.token.reveal()}")

    try:
        server.run(started)
    finally:
        signals.ending()
    return ExitCode.OK


def _made(arguments: argparse.Namespace, token: str | None) -> Relay:
    from enchannel_socketio.relay import Bounds, Limits, Relay, store_of

    return Relay(
        token=token,
        store=store_of(
            arguments.store, Bounds(messages=arguments.log_messages, bytes=arguments.log_bytes)
        ),
        limits=Limits(
            max_message=arguments.max_message,
            kernels=arguments.kernels,
            connections=arguments.connections,
        ),
        hosts=[*arguments.allow_host, *_own_name(arguments.host)],
        origins=arguments.allow_origin,
        spawns=not arguments.no_spawn,
        share=arguments.share,
    )


def _own_name(host: str) -> list[str]:
    """The address that it is bound to, where that is one."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104  # nothing is bound here
        return []
    return [f"[{host}]" if ":" in host else host]
