"""``tests/rigs/parallel.py``, which runs the type checkers."""

import shlex
import sys

import pytest

from tests.rigs.parallel import main


def python(code: str) -> str:
    return shlex.join([sys.executable, "-c", code])


def test_outputs_of_commands_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    commands = python("print('a')"), python("import sys; print('b', file=sys.stderr)")
    assert main(*commands) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == sorted([f"$ {commands[0]}", "a", f"$ {commands[1]}", "b"])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_failed_command_fails_all(place: int, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [python("print('passed')")] * 3
    commands[place] = python("raise SystemExit(3)")
    assert main(*commands) == 1
    lines = capsys.readouterr().out.splitlines()
    assert (lines.count("passed"), lines.count("exit code 3")) == (2, 1)
