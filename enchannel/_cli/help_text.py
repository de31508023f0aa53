"""The descriptions and epilogs of ``--help``; every line is shorter than 80 characters."""

from __future__ import annotations

__all__ = [
    "KERNELS",
    "KERNELS_EPILOG",
    "PROGRAM",
    "PROGRAM_EPILOG",
    "RECORD",
    "RECORD_EPILOG",
    "RELAY",
    "RELAY_EPILOG",
    "REPLAY",
    "REPLAY_EPILOG",
    "RUN",
    "RUN_EPILOG",
]

EXIT_CODES = """\
exit codes:
  0    success
  1    the code raised an exception (also if one Ctrl-C interrupted it) or was
       not run; or output could not be written
  2    invalid command line, unreadable file, or a recording that cannot be
       read or created
  3    could not start or connect to the kernel or its server
  4    the kernel died, or the connection to it was lost
  5    output was lost on its way
  124  the code did not finish within --timeout
  130  ended by Ctrl-C: the second one, or the first before the code ran
  129, 141, 143
       as in a shell: the terminal hung up, the reader of the output closed
       its pipe, SIGTERM
"""

ENVIRONMENT = """\
environment:
  JUPYTER_PATH         additional directories with kernelspecs
  JUPYTER_RUNTIME_DIR  the directory with the connection files of running
                       kernels
  JUPYTER_TOKEN, JUPYTER_PASSWORD
                       token or password of a Jupyter server, if its URL has no
                       ?token=...; unlike the URL, they do not appear in the
                       shell history and the process list
  ENCHANNEL_TOKEN      access token of a relay
  NO_COLOR             turns off colours on a terminal, unless it is empty
"""

PROGRAM = "Run code in Jupyter kernels; list, record and share kernels."

PROGRAM_EPILOG = f"""\
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
Run code in a Jupyter kernel, and print its output as it arrives.

A new kernel is started for the code and shut down afterwards. With
--existing, the code runs in a running kernel, which is left running. With
--at, the kernel is on a Jupyter server or relay.

A notebook is run cell by cell until a cell raises, and is saved after each
cell. Its kernel is the one that the notebook names, started in the notebook's
directory.
"""

RUN_EPILOG = f"""\
examples:
  enchannel run "print('woo'); 6 * 7"
  enchannel run train.py --timeout 600
  echo "1 + 1" | enchannel run -
  enchannel run --kernel deno "Deno.version"
  enchannel run --existing 1a2b "x + 1"
  enchannel run --at "http://localhost:8888/lab?token=..." train.py
  enchannel run --at https://hub.example.org/user/me --existing 1a2b "x + 1"
  enchannel run --existing http://localhost:8888/api/kernels/1a2b... "x + 1"
  enchannel run --json plot.py | jq -r .header.msg_type
  enchannel run --record session.enchannel train.py
  enchannel run analysis.ipynb --output done.ipynb
  enchannel run analysis.ipynb --output done.ipynb --resume
  enchannel run report.ipynb -o may.ipynb -p month 5 -p city Lima
  enchannel run -- "-1"

output:
  Streams of the code go to stdout and stderr, results and displays (as text)
  to stdout, tracebacks to stderr. On a terminal, all escape sequences except
  colours are removed. In a pipe, streams are unchanged, and results, displays
  and tracebacks have no colours.

  For a notebook, progress goes to stderr, and the outputs are saved to
  --output, or printed on stdout without it.

notebooks:
  A cell with the tag raises-exception may raise; a cell with the tag
  skip-execution is skipped. -p and --parameters add a cell with the given
  values after the cell with the tag parameters. --resume skips the first cells
  that have run without an error and whose code is unchanged; their variables
  exist only in the kernel that ran them, which --existing can name.

input:
  input() reads from the terminal; passwords are not echoed. If stdin is a pipe
  or a file, input() reads one line of it. At the end of stdin, and if the code
  was read from stdin, it raises EOFError.

Ctrl-C:
  The first Ctrl-C interrupts the code; on a terminal, most of the output that
  is still queued is skipped. The second one ends the kernel and the command. A
  kernel of --existing is left running.

{EXIT_CODES}
{ENVIRONMENT}"""

KERNELS = """\
List installed kernelspecs and running kernels.

Running kernels are found by their connection files. The state of a kernel on
this machine is "alive" if it answers, else "dead": a connection file may
outlive its kernel. With --at, the kernels of a Jupyter server or relay are
listed.
"""

KERNELS_EPILOG = f"""\
examples:
  enchannel kernels
  enchannel kernels --json | jq -r '.running[] | select(.state == "alive").id'
  enchannel kernels --at http://localhost:8888

with --json:
  {{"kernelspecs": [{{"name", "display_name", "language", "metadata"}}, ...],
   "running": [{{"id", "name", "state", "connections", "last_activity",
                "target"}}, ...]}}
  name is that of the kernelspec, last_activity is in ISO 8601, and target is a
  value for --existing: a connection file or a URL. What is not known is null.
  kernelspecs is null if jupyter_client is not installed.

{EXIT_CODES}
{ENVIRONMENT}"""

RECORD = """\
Record a running kernel: every message that is received from it or sent to it
on this connection, with its time, and changes of the kernel's state and the
connection.

The recording ends on Ctrl-C, SIGTERM or the end of the kernel, with exit code
0. The kernel is left running. Requests of other clients are not received, but
the kernel's iopub messages in response to them are.
"""

RECORD_EPILOG = f"""\
examples:
  enchannel kernels
  enchannel record 1a2b session.enchannel
  enchannel record --at http://localhost:8888 1a2b session.enchannel
  enchannel replay session.enchannel

the file:
  Only you can read it. If the command is killed, the file is valid up to the
  last message. Answers to input() may be passwords, and are left out without
  --keep-input.

{EXIT_CODES}
{ENVIRONMENT}"""

REPLAY = """\
Print a recording as `enchannel run` prints the output of code, at the speed at
which it was recorded.
"""

REPLAY_EPILOG = f"""\
examples:
  enchannel replay session.enchannel
  enchannel replay --speed 10 session.enchannel
  enchannel replay --speed inf --json session.enchannel | jq -r .direction

with --json:
  One line for each message in either direction, with the fields of
  `enchannel run --json`, the time (in seconds since the start of the
  recording) and the direction ("received" or "sent").

{EXIT_CODES}
{ENVIRONMENT}"""

RELAY = """\
Serve kernels to browsers and programs over HTTP and Socket.IO. Open the
printed link in a browser: the page lists the kernels, runs code and shows its
output. Programs connect with the access token in ENCHANNEL_TOKEN.

Clients that connect late, or reconnect, receive the messages that they missed.
Ctrl-C and SIGTERM stop the relay with exit code 0, and shut down the kernels
that it has started.
"""

RELAY_EPILOG = f"""\
examples:
  enchannel relay --port 4000
  enchannel relay --share 1a2b --no-spawn
  enchannel relay --store /var/lib/relay --log-bytes 4000000000
  enchannel relay --host 0.0.0.0 --allow-host lab.example.org \\
      --certfile lab.pem --keyfile lab.key
  enchannel run --at socketio+http://localhost:4000 "6 * 7"

security:
  Every request needs the access token. The printed link can be used once
  instead. The page can create links for others to watch one kernel. The relay
  listens on this machine only, unless --host is given; then use a certificate,
  or a proxy that has one. It accepts requests for localhost, the address it
  listens on, and the names of --allow-host only.

{EXIT_CODES}
{ENVIRONMENT}"""
