"""Help, usage errors, and the imports that they need."""

import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from enchannel._cli.exit_code import ExitCode
from tests.enchannel_cli.command import COMMAND, enchannel, refused
from tests.rigs import DEADLINE


@pytest.mark.parametrize(
    "command", [(), ("run",), ("kernels",), ("record",), ("relay",), ("replay",)]
)
def test_help_has_all_sections(command: tuple[str, ...]) -> None:
    ended = enchannel(*command, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    for words in ("examples:", "exit codes:", "environment:", "NO_COLOR"):
        assert words in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) < 80


def test_help_names_every_exit_code() -> None:
    text = enchannel("run", "--help").stdout.partition("exit codes:")[2]
    assert [code for code in ExitCode if f"{code}" not in text] == []


def test_exit_codes_are_aligned() -> None:
    table = enchannel("--help").stdout.partition("exit codes:\n")[2].partition("\n\n")[0]
    rows = [line for line in table.splitlines() if not line.startswith("  129, ")]
    assert [row for row in rows if not re.match(r"  (\d{1,3} +|     )(?<=^.{7})\S", row)] == []


def test_version_is_printed() -> None:
    ended = enchannel("--version")
    assert (ended.returncode, ended.stdout) == (0, f"enchannel {version('enchannel')}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("walk",),
        ("run",),
        ("run", "--timeout", "0", "1"),
        ("run", "--timeout", "nan", "1"),
        ("run", "--timeout", "soon", "1"),
        ("run", "--kernel", "python3", "--existing", "x", "1"),
        ("record", "1a2b"),
        ("replay",),
        # Abbreviations of --timeout and --existing.
        ("run", "--time", "1", "1"),
        ("run", "--exist", "1a2b", "1"),
        ("--vers",),
        ("replay", "--speed", "0", "x"),
        ("replay", "--speed", "fast", "x"),
        ("relay", "--max-kernels", "0"),
        ("relay", "--max-kernels", "1" * 5_000),
    ],
)
def test_invalid_command_line_prints_usage(arguments: tuple[str, ...]) -> None:
    ended = refused(*arguments)
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert "usage:" in ended.stderr


def test_help_imports_no_backend_library() -> None:
    script = """if True:
        import sys
        from enchannel.__main__ import main
        main(["run", "--help"])
        print([name for name in ("zmq", "jupyter_client", "readline")
               if name in sys.modules], file=sys.stderr)
    """
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", timeout=DEADLINE
    )
    assert ended.stderr == "[]\n"


def test_help_into_closed_pipe_is_quiet() -> None:
    with subprocess.Popen(
        [*COMMAND, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    # The command may write before the pipe is closed.
    assert process.returncode in (ExitCode.OK, ExitCode.PIPE_CLOSED)
