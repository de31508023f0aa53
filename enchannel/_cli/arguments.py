"""The subcommands and their options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TypeAlias

from enchannel._cli import help_text
from enchannel._cli.kernels import kernels
from enchannel._cli.option_types import to_count, to_port, to_seconds, to_server_url, to_speed
from enchannel._cli.record import record
from enchannel._cli.relay import relay
from enchannel._cli.replay import replay
from enchannel._cli.run import run
from enchannel._cli.terminal.screen import Screen

__all__ = ["parse_arguments"]

RUNNING_KERNEL_HELP = (
    "a running kernel: its connection file, its id or the beginning of its id, or a URL"
)

Command: TypeAlias = Callable[[argparse.Namespace, Screen], int]
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line.

    Returns:
        The options; ``command`` is the function that runs the subcommand.
    """
    parser = argparse.ArgumentParser(
        prog="enchannel",
        description=help_text.PROGRAM,
        epilog=help_text.PROGRAM_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # An abbreviation that scripts use would fix the names of all options.
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('enchannel')}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(subparsers)
    _add_kernels(subparsers)
    _add_record(subparsers)
    _add_replay(subparsers)
    _add_relay(subparsers)
    return parser.parse_args(arguments)


def _add_parser(
    subparsers: Subparsers,
    name: str,
    command: Command,
    *,
    summary: str,
    description: str,
    epilog: str,
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # An abbreviation that scripts use would fix the names of all options.
        allow_abbrev=False,
    )
    parser.set_defaults(command=command)
    return parser


def _add_run(subparsers: Subparsers) -> None:
    parser = _add_parser(
        subparsers,
        "run",
        run,
        summary="run code or a notebook in a kernel",
        description=help_text.RUN,
        epilog=help_text.RUN_EPILOG,
    )
    parser.add_argument(
        "code",
        metavar="CODE",
        help="the code; the path of a file with code or of a notebook; or - to read code from stdin "
        "(put -- before code that begins with a dash)",
    )
    kernel = parser.add_mutually_exclusive_group()
    kernel.add_argument(
        "--kernel",
        metavar="NAME",
        help="kernelspec of the kernel to start (default: that of the notebook, else python3)",
    )
    kernel.add_argument("--existing", metavar="KERNEL", help=RUNNING_KERNEL_HELP)
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=to_seconds,
        help="interrupt the code, or a cell, that runs longer than this (default: never); the start of the "
        "kernel does not count",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the kernel's messages of all channels instead of text, one JSON object per line: "
        "channel, header, parent_header, metadata, content, buffers (a list of base64 strings)",
    )
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="record all messages to a new file, for `enchannel replay`",
    )
    _add_notebook_options(parser)
    _add_server_options(
        parser, "start the kernel, or find the kernel of --existing, on this server"
    )


def _add_notebook_options(parser: argparse.ArgumentParser) -> None:
    notebook = parser.add_argument_group("notebooks")
    notebook.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="save the notebook with its outputs to this file, or the notebook itself; - is stdout",
    )
    notebook.add_argument(
        "--resume",
        action="store_true",
        help="skip the first cells that have run before, according to --output",
    )
    notebook.add_argument(
        "--strict",
        action="store_true",
        help="refuse a notebook that deviates from nbformat, instead of repairing it",
    )
    notebook.add_argument(
        "--allow-errors", action="store_true", help="continue after a cell that raises"
    )
    notebook.add_argument(
        "-p",
        "--parameter",
        metavar=("NAME", "VALUE"),
        nargs=2,
        action="append",
        default=[],
        help="set a variable to a value (a number, True, False, None or JSON, otherwise plain text); can "
        "be repeated",
    )
    notebook.add_argument(
        "--parameters",
        metavar="FILE",
        help="set variables to the values in a file with a JSON object",
    )


def _add_kernels(subparsers: Subparsers) -> None:
    parser = _add_parser(
        subparsers,
        "kernels",
        kernels,
        summary="list kernelspecs and running kernels",
        description=help_text.KERNELS,
        epilog=help_text.KERNELS_EPILOG,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    _add_server_options(parser, "list the kernels of this server instead of those of this machine")


def _add_record(subparsers: Subparsers) -> None:
    parser = _add_parser(
        subparsers,
        "record",
        record,
        summary="record the messages of a running kernel",
        description=help_text.RECORD,
        epilog=help_text.RECORD_EPILOG,
    )
    parser.add_argument("target", metavar="KERNEL", help=RUNNING_KERNEL_HELP)
    parser.add_argument("file", metavar="FILE", help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--keep-input", action="store_true", help="also record the answers to input()"
    )
    _add_server_options(parser, "find the kernel on this server")


def _add_replay(subparsers: Subparsers) -> None:
    parser = _add_parser(
        subparsers,
        "replay",
        replay,
        summary="print a recording",
        description=help_text.REPLAY,
        epilog=help_text.REPLAY_EPILOG,
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a file written by `enchannel record` or `enchannel run --record`",
    )
    parser.add_argument(
        "--speed",
        metavar="N",
        type=to_speed,
        default=1.0,
        help="play N times as fast as recorded (default: 1); inf: without delays",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the messages, one JSON object per line"
    )


def _add_relay(subparsers: Subparsers) -> None:
    parser = _add_parser(
        subparsers,
        "relay",
        relay,
        summary="serve kernels to browsers and programs",
        description=help_text.RELAY,
        epilog=help_text.RELAY_EPILOG,
    )
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1)",
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=to_port,
        default=4000,
        help="port to listen on (default: 4000); 0: any free port",
    )
    parser.add_argument(
        "--share",
        metavar="KERNEL",
        action="append",
        default=[],
        help=f"serve {RUNNING_KERNEL_HELP}; can be repeated",
    )
    parser.add_argument("--no-spawn", action="store_true", help="do not let clients start kernels")
    _add_log_options(parser)
    _add_access_options(parser)


def _add_log_options(parser: argparse.ArgumentParser) -> None:
    log = parser.add_argument_group("message log")
    log.add_argument(
        "--store",
        metavar="WHERE",
        help="where to keep the messages of kernels: a directory, or redis://HOST to share them "
        "between relays (default: in memory)",
    )
    log.add_argument(
        "--log-messages",
        metavar="N",
        type=to_count,
        default=100_000,
        help="maximum number of messages to keep for each kernel (default: 100000)",
    )
    log.add_argument(
        "--log-bytes",
        metavar="N",
        type=to_count,
        default=256 << 20,
        help="maximum size of the messages to keep for each kernel, in bytes (default: 256 MiB)",
    )


def _add_access_options(parser: argparse.ArgumentParser) -> None:
    access = parser.add_argument_group("access control and limits")
    access.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="accept requests for this host name; can be repeated",
    )
    access.add_argument(
        "--allow-origin",
        metavar="URL",
        action="append",
        default=[],
        help="accept requests from web pages of this origin, such as https://lab.example.org; can be "
        "repeated",
    )
    access.add_argument("--certfile", metavar="FILE", help="certificate, for https")
    access.add_argument(
        "--keyfile", metavar="FILE", help="key of the certificate, if it is in a separate file"
    )
    access.add_argument(
        "--max-message",
        metavar="N",
        type=to_count,
        default=10 << 20,
        help="maximum size of a client's message, in bytes (default: 10 MiB)",
    )
    access.add_argument(
        "--max-kernels",
        metavar="N",
        type=to_count,
        default=32,
        help="maximum number of kernels at a time (default: 32)",
    )
    access.add_argument(
        "--max-connections",
        metavar="N",
        type=to_count,
        default=1_000,
        help="maximum number of connections at a time (default: 1000)",
    )


def _add_server_options(parser: argparse.ArgumentParser, purpose: str) -> None:
    server = parser.add_argument_group("Jupyter servers and relays")
    server.add_argument(
        "--at",
        metavar="URL",
        type=to_server_url,
        help=f"{purpose}; URL may be the one that Jupyter prints, http://HOST:PORT/lab?token=..., or that "
        "of a relay, socketio+http://HOST:PORT",
    )
    server.add_argument(
        "--ask-password",
        action="store_true",
        help="prompt for the password of the Jupyter server on the terminal",
    )
    server.add_argument(
        "--allow-http",
        action="store_true",
        help="allow http:// to another machine: anyone on the network path can read the token and code",
    )
