"""Every Python example in the README and the documentation runs: as a script, or in a notebook.

Examples that await outside of a function are for notebooks; a line ``# %%`` starts a cell.
"""

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import commutable as cm
import enchannel as ec
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


@dataclass(frozen=True)
class Example:
    """A block of code, the text block below it, and the reason not to run it."""

    code: str
    output: str | None
    id: str
    reason: str | None

    @property
    def is_for_notebooks(self) -> bool:
        try:
            compile(self.code, self.id, "exec")
        except SyntaxError:
            compile(self.code, self.id, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            return True
        return False


def examples() -> Iterator[Example]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start("code")) + 1
            yield Example(
                textwrap.dedent(block["code"]),
                None if block["output"] is None else textwrap.dedent(block["output"]),
                f"{page.relative_to(ROOT)}:{line}",
                block["reason"],
            )


def parametrize_examples(*, for_notebooks: bool) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("code", "output"),
        [
            pytest.param(
                example.code,
                example.output,
                id=example.id,
                marks=[pytest.mark.skip(reason=example.reason)] if example.reason else [],
            )
            for example in examples()
            if example.is_for_notebooks == for_notebooks
        ],
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


def run_cells(*sources: str, directory: Path) -> str:
    """Run the cells of a notebook in a real kernel, and return their text."""
    notebook = cm.empty_notebook
    for source in sources:
        notebook = cm.append_cell(notebook, cm.code_cell(source))
    with ec.launch(cwd=directory) as kernel:
        done = ec.wait(cm.execute(notebook, kernel), timeout=DEADLINE)
    return "".join(cell.outputs.text for cell in done.cells if isinstance(cell, cm.CodeCell))


@pytest.mark.kernel
@parametrize_examples(for_notebooks=True)
@pytest.mark.parametrize("separator", ["# %%", None], ids=["cells", "one cell"])
def test_example_runs_in_notebook(
    code: str, output: str, separator: str | None, tmp_path: Path
) -> None:
    cells = [code] if separator is None else code.split(separator)
    assert run_cells(*cells, directory=tmp_path) == output


@pytest.mark.kernel
def test_first_example_in_notebook_names_remedy(tmp_path: Path) -> None:
    """The remedy of the error and the section of the README are the same form."""
    first = next(examples()).code
    with pytest.raises(cm.CellFailed) as failed:
        run_cells(first, directory=tmp_path)
    text = str(failed.value.reason)
    assert "WouldDeadlock" in text
    assert "async with ec.launch(…) as kernel" in text
    assert "await kernel.aclose()" in text


@pytest.mark.kernel
@parametrize_examples(for_notebooks=False)
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
