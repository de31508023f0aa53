"""Every Python example in the README and the documentation runs as a script."""

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from enchannel_socketio.relay import Relay, RelayServer
from tests.rigs import DEADLINE
from tests.rigs.servers import JupyterServer

ROOT = Path(__file__).parents[2]
# The blocks of this page are files that import each other; test_backends.py runs them.
ELSEWHERE = {"backends.md"}
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in ELSEWHERE),
]
COMMANDS = [
    """pip install ".[kernel]" && enchannel run "print('woo'); 6 * 7\"""",
    "pip install tox && tox",
]

# `py`, `pycon` and `python3` are examples as well, so that none goes untested by its spelling.
BLOCK = re.compile(
    r"""
    (?:^\ *<!--\ not\ executed:\ (?P<reason>.+?)\ -->\n)?
    ^(?P<indent>\ *)```py.*\n
    (?P<code>(?:.*\n)*?)
    ^\ *```\n
    (?:\n*^\ *```text\n(?P<output>(?:.*\n)*?)^\ *```$)?
    """,
    re.MULTILINE | re.VERBOSE,
)


def examples() -> Iterator[object]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start("code")) + 1
            yield pytest.param(
                textwrap.dedent(block["code"]),
                None if block["output"] is None else textwrap.dedent(block["output"]),
                id=f"{page.relative_to(ROOT)}:{line}",
                marks=[pytest.mark.skip(reason=block["reason"])] if block["reason"] else [],
            )


SERVER, TOKEN = "http://localhost:8888", "abc"
RELAY, RELAY_TOKEN = "http://localhost:4000", "a-token-of-your-own"


@pytest.fixture
def server() -> Iterator[str]:
    """Start the server of the examples, on a free port."""
    with JupyterServer(token=TOKEN) as server:
        yield server.url


@pytest.fixture
def relay() -> Iterator[str]:
    """Start the relay of the examples, on a free port."""
    with RelayServer(Relay(token=RELAY_TOKEN)) as server:
        yield server.url


@pytest.mark.kernel
@pytest.mark.parametrize(("code", "output"), list(examples()))
def test_example_runs(
    code: str, output: str | None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if SERVER in code:
        code = code.replace(SERVER, request.getfixturevalue("server"))
    if RELAY in code:
        code = code.replace(RELAY, request.getfixturevalue("relay"))
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert run.returncode == 0, run.stderr
    if output is not None:
        assert run.stdout == output


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_has_command(command: str) -> None:
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_readme_command() -> None:
    assert "pip install tox && tox" in (ROOT / ".ci" / "run").read_text().splitlines()
