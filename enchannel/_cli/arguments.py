"""The commands, their options, and the help that goes with them."""

from __future__ import annotations

import argparse
import math
import threading
from collections.abc import Sequence
from importlib.metadata import version

from enchannel._cli.kernels import kernels
from enchannel._cli.record import record
from enchannel._cli.relay import relay
from enchannel._cli.replay import replay
from enchannel._cli.run import run

__all__ = ["parse"]

DESCRIPTION = "Run code in Jupyter kernels, list, record and share them."

EXIT_CODES = """\
exit codes:
  0    all went well
  1    the code raised (also if one Ctrl-C ended it), or was refused; or its
       output could not be written
  2    the command line makes no sense, or names a file that cannot be read
       (of a recording: or made)
  3    the kernel could not be started, or it or its server not be reached
  4    the kernel died, or the connection to it was lost
  124  the code did not end within --timeout
  130  ended by Ctrl-C: the second one, or the first before the code ran
  129, 141, 143
       as in a shell: the terminal hung up, nobody reads the output any more,
       SIGTERM
"""

ENVIRONMENT = """\
environment:
  JUPYTER_PATH         where else kernelspecs are looked for
  JUPYTER_RUNTIME_DIR  where the connection files of running kernels are
  JUPYTER_TOKEN, JUPYTER_PASSWORD
                       what a server knows you by, if there is no ?token=... in
                       its URL; here it is in no history and in no list of
                       processes
  ENCHANNEL_TOKEN      the same of a relay: it opens to who has it
  NO_COLOR             unless it is empty: no colours on a terminal
"""

EPILOG = f"""\
examples:
  enchannel run "print('woo'); 6 * 7"
  enchannel run --at http://localhost:8888 "6 * 7"
  enchannel kernels
  enchannel record 1a2b session.enchannel
  enchannel relay --port 4000
  enchannel run --help

{EXIT_CODES}
{ENVIRONMENT}"""

RUN = """\
Run code in a Jupyter kernel, and print what it says as it comes.

The kernel is started for it and shut down after it. With --connection the code
runs in a kernel that is there already, and stays. With --at either is on a
Jupyter server.

A notebook runs cell by cell, up to the first that raises, and is saved after
each; it is for the kernel that it names, which starts in its directory.
"""

RUN_EPILOG = f"""\
examples:
  enchannel run "print('woo'); 6 * 7"
  enchannel run train.py --timeout 600
  echo "1 + 1" | enchannel run -
  enchannel run --kernel deno "Deno.version"
  enchannel run --connection 1a2b "x + 1"
  enchannel run --at "http://localhost:8888/lab?token=..." train.py
  enchannel run --at https://hub.example.org/user/me --connection 1a2b "x + 1"
  enchannel run --connection http://localhost:8888/api/kernels/1a2b... "x + 1"
  enchannel run --json plot.py | jq -r .header.msg_type
  enchannel run --record session.enchannel train.py
  enchannel run analysis.ipynb --output done.ipynb
  enchannel run analysis.ipynb --output done.ipynb --resume
  enchannel run report.ipynb -o may.ipynb -p month 5 -p city Lima
  enchannel run -- "-1"

output:
  What the code prints goes to stdout and stderr, results and displays (as
  text) to stdout, tracebacks to stderr. On a terminal, of all escape sequences
  only colours get through. In a pipe what is printed is passed on as it is;
  results, displays and tracebacks have no colours.

  Of a notebook, how far it is goes to stderr; its outputs into --output, or
  without that to stdout.

notebooks:
  A cell with the tag raises-exception may raise; one with the tag
  skip-execution is not run. -p puts a cell with other values behind that with
  the tag parameters. --resume leaves out the cells that have run before
  without an error and whose code is still the same; what they defined is only
  in the kernel that ran them, which --connection can name.

input:
  input() asks on the terminal; a password is not shown. Where stdin is a pipe
  or a file, it takes a line of it. At the end of stdin, and where the code
  itself came from there, it raises EOFError.

Ctrl-C:
  The first one interrupts the code; on a terminal most of the output that had
  piled up by then is left out. The second one ends the kernel and the command.
  A kernel that was connected to is left alone.

{EXIT_CODES}
{ENVIRONMENT}"""

KERNELS = """\
List the kernelspecs that are installed, and the kernels that run.

Running kernels are found by their connection files. A file may outlive its
kernel: where nothing answers, it is called gone. With --at a Jupyter server is
asked for its own.
"""

KERNELS_EPILOG = f"""\
examples:
  enchannel kernels
  enchannel kernels --json | jq -r '.running[] | select(.alive) | .id'
  enchannel kernels --at http://localhost:8888

with --json:
  {{"kernelspecs": [{{"name", "display_name", "language"}}, ...],
   "running": [{{"id", "kernel_name", "transport", "alive",
                "connection_file"}}, ...]}}
  Without jupyter_client, kernelspecs cannot be listed and are null. With --at
  there are state and url in place of connection_file.

{EXIT_CODES}
{ENVIRONMENT}"""

RECORD = """\
Record a kernel that runs: every message that it says and every one of ours,
with its time, and what becomes of the connection and the kernel.

Ctrl-C, SIGTERM and the end of the kernel are how it ends, and well: with exit
code 0. The kernel is left alone. What others say to it is not heard; what it
answers them is, on iopub.
"""

RECORD_EPILOG = f"""\
examples:
  enchannel kernels
  enchannel record 1a2b session.enchannel
  enchannel record --at http://localhost:8888 1a2b session.enchannel
  enchannel replay session.enchannel

the file:
  It is yours alone to read. Should the recording be killed, it is good up to
  the last message. What input() was answered may be a password, and is left
  out unless you say --keep-input.

{EXIT_CODES}
{ENVIRONMENT}"""

REPLAY = """\
Show a recording: what the kernel answered is printed as `enchannel run` prints
it, when it was said.
"""

REPLAY_EPILOG = f"""\
examples:
  enchannel replay session.enchannel
  enchannel replay --speed 10 session.enchannel
  enchannel replay --speed inf --json session.enchannel | jq -r .direction

with --json:
  Each message of either direction is a line. It has what is printed by
  `enchannel run --json`, and the time (seconds since the recording began) and
  the direction (received or sent).

{EXIT_CODES}
{ENVIRONMENT}"""

RELAY = """\
Serve kernels to browsers and programs, over HTTP and Socket.IO. Open the link
that is printed in a browser: it shows the kernels, runs code, and shows what
they say. Programs connect with ENCHANNEL_TOKEN.

Who comes late, or comes back, sees what was said meanwhile. Ctrl-C and SIGTERM
are how it ends, and well: with exit code 0, and with the kernels that were
started here.
"""

RELAY_EPILOG = f"""\
examples:
  enchannel relay --port 4000
  enchannel relay --share 1a2b --no-spawn
  enchannel relay --store /var/lib/relay --log-bytes 4000000000
  enchannel relay --host 0.0.0.0 --allow-host lab.example.org \\
      --certfile lab.pem --keyfile lab.key
  enchannel run --at socketio+http://localhost:4000 "6 * 7"

who may:
  Nobody without the token, which a link stands for, once. The page has links
  for others, to watch one kernel. It listens on this machine only, unless
  --host says otherwise; then give it a certificate, or put a proxy with one
  before it. It answers to no name but localhost, its own address, and those of
  --allow-host.

{EXIT_CODES}
{ENVIRONMENT}"""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for; ``command`` is the function that does it."""
    parser = argparse.ArgumentParser(
        prog="enchannel",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('enchannel')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_kernels(commands)
    _add_record(commands)
    _add_replay(commands)
    _add_relay(commands)
    return parser.parse_args(arguments)


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run code in a kernel",
        description=RUN,
        epilog=RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "code",
        metavar="CODE",
        help="the code; or the path of a file with it, or of a notebook; or - for what comes on stdin "
        "(before code that begins with a dash put --)",
    )
    kernel = parser.add_mutually_exclusive_group()
    kernel.add_argument(
        "--kernel",
        metavar="NAME",
        help="the kernelspec to start a kernel by (default: the notebook's own; python3)",
    )
    kernel.add_argument(
        "--connection",
        metavar="FILE",
        help="a kernel that runs: its connection file, its id or the beginning of it, or a URL",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="interrupt the code, or each cell, after this time (default: never); the kernel's start does "
        "not count",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the kernel's messages instead, one JSON object a line, of all channels: channel, "
        "header, parent_header, metadata, content, buffers (a list of base64)",
    )
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="record what is said and heard, for `enchannel replay`; there must be no such file yet",
    )
    notebook = parser.add_argument_group("notebooks")
    notebook.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="where to save what has run; may be the notebook itself",
    )
    notebook.add_argument(
        "--resume",
        action="store_true",
        help="go on where it stopped when it ran with this --output",
    )
    notebook.add_argument(
        "--allow-errors", action="store_true", help="go on after cells that raise"
    )
    notebook.add_argument(
        "-p",
        "--parameter",
        metavar=("NAME", "VALUE"),
        nargs=2,
        action="append",
        default=[],
        help="set a variable: to a value in JSON, or to a text; may be given again",
    )
    notebook.add_argument(
        "--parameters", metavar="FILE", help="set variables to the values of a JSON object"
    )
    _add_server(parser, "where to start the kernel, or where that of --connection is")
    parser.set_defaults(command=run)


def _add_kernels(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "kernels",
        help="list kernelspecs and running kernels",
        description=KERNELS,
        epilog=KERNELS_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print them as a JSON object")
    _add_server(parser, "whose kernels to list, and not those of this machine")
    parser.set_defaults(command=kernels)


def _add_record(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "record",
        help="record what is said and heard",
        description=RECORD,
        epilog=RECORD_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "target",
        metavar="KERNEL",
        help="a kernel that runs: its connection file, its id or the beginning of it, or a URL",
    )
    parser.add_argument("file", metavar="FILE", help="where to")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    parser.add_argument(
        "--keep-input", action="store_true", help="record also what input() was answered"
    )
    _add_server(parser, "where the kernel is")
    parser.set_defaults(command=record)


def _add_replay(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "replay",
        help="show a recording",
        description=REPLAY,
        epilog=REPLAY_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="what `enchannel record` has made")
    parser.add_argument(
        "--speed",
        metavar="N",
        type=_speed,
        default=1.0,
        help="how many times as fast as it was (default: 1); inf: as fast as it goes",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the messages, one JSON object a line"
    )
    parser.set_defaults(command=replay)


def _add_relay(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "relay",
        help="serve kernels to browsers and programs",
        description=RELAY,
        epilog=RELAY_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="where to listen")
    parser.add_argument(
        "--port", metavar="N", type=int, default=4000, help="(default: 4000); 0: one that is free"
    )
    parser.add_argument(
        "--share",
        metavar="KERNEL",
        action="append",
        default=[],
        help="serve a kernel that runs: its connection file, its id or the beginning of it, or a URL; "
        "may be given again",
    )
    parser.add_argument("--no-spawn", action="store_true", help="clients may start no kernels")
    parser.add_argument(
        "--store",
        metavar="WHERE",
        help="where what kernels say is kept: a directory, or redis://HOST for several relays (default: "
        "in memory)",
    )
    log = parser.add_argument_group("how much is kept of each kernel")
    log.add_argument("--log-messages", metavar="N", type=_count, default=100_000, help="messages")
    log.add_argument("--log-bytes", metavar="N", type=_count, default=256 << 20, help="bytes")
    door = parser.add_argument_group("who may, and how much")
    door.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="another name that it is called by; may be given again",
    )
    door.add_argument(
        "--allow-origin",
        metavar="URL",
        action="append",
        default=[],
        help="whose pages may use it beside its own, as https://lab.example.org; may be given again",
    )
    door.add_argument("--certfile", metavar="FILE", help="a certificate, for https")
    door.add_argument("--keyfile", metavar="FILE", help="its key, if that is in another file")
    door.add_argument(
        "--max-message",
        metavar="N",
        type=_count,
        default=10 << 20,
        help="bytes that a client may send",
    )
    door.add_argument("--kernels", metavar="N", type=_count, default=32, help="kernels at a time")
    door.add_argument(
        "--connections", metavar="N", type=_count, default=1_000, help="connections at a time"
    )
    parser.set_defaults(command=relay)


def _add_server(parser: argparse.ArgumentParser, what_for: str) -> None:
    server = parser.add_argument_group("Jupyter servers and relays")
    server.add_argument(
        "--at",
        metavar="URL",
        type=_url,
        help=f"the server {what_for}: its URL, also as Jupyter prints it, with /lab and ?token=...; "
        "the token may be in JUPYTER_TOKEN instead. A relay's begins with socketio+http",
    )
    server.add_argument(
        "--ask-password",
        action="store_true",
        help="ask for the server's password on the terminal; it may be in JUPYTER_PASSWORD instead",
    )
    server.add_argument(
        "--allow-http",
        action="store_true",
        help="allow http:// to another machine: who is on the way can read token and code",
    )


def _url(text: str) -> str:
    if "://" not in text:
        raise argparse.ArgumentTypeError("a server's URL begins with http:// or https://")
    return text


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not speed > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0, nor inf")
    return speed


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds
