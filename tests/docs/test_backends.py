"""The backend of docs/backends.md, built in an empty directory from the files on that page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rigs import DEADLINE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "backends.md"
EXAMPLE = ROOT / "examples" / "tcp"
FILE = re.compile(r"^`(?P<name>\w+\.py)`:\n\n```python\n(?P<text>.*?)^```$", re.M | re.S)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a directory with the files that the page prints."""
    for file in FILE.finditer(PAGE.read_text(encoding="utf-8")):
        (tmp_path / file["name"]).write_text(file["text"], encoding="utf-8")
    return tmp_path


def test_page_and_example_are_equal(project: Path) -> None:
    on_the_page = {path.name: path.read_text() for path in project.iterdir()}
    assert on_the_page == {path.name: path.read_text() for path in EXAMPLE.glob("*.py")}
    entry_point = 'tcp = "tcp_backend:backend"'
    assert entry_point in PAGE.read_text(encoding="utf-8")
    assert entry_point in (EXAMPLE / "pyproject.toml").read_text()


def test_example_passes_the_suite(project: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-rs", "test_tcp.py"]
    run = subprocess.run(
        command, cwd=project, capture_output=True, encoding="utf-8", timeout=2 * DEADLINE
    )
    assert run.returncode == 0, run.stdout
    assert "plain TCP has no authentication" in run.stdout


@pytest.mark.kernel
def test_example_reaches_a_real_kernel(project: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "tcp_server.py", "python3", "0"],
        cwd=project,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    with server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        run = subprocess.run(
            [sys.executable, "-W", "error", "talk.py", url],
            cwd=project,
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE,
        )
        server.communicate(timeout=DEADLINE)
    assert (run.stdout, run.stderr) == ("42\n", "")
    assert server.returncode == 0


def test_unknown_option_is_refused_as_printed(project: Path) -> None:
    """An installed package is a directory of metadata on ``sys.path``."""
    info = project / "tcp-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tcp\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[enchannel.backends]\ntcp = tcp_backend:backend\n", encoding="utf-8"
    )
    session = re.search(
        r"^>>> (?P<code>ec\.connect.*)\n(?P<error>TypeError: .*)$",
        PAGE.read_text(encoding="utf-8"),
        re.M,
    )
    assert session is not None
    run = subprocess.run(
        [sys.executable, "-c", f"import enchannel as ec; {session['code']}"],
        cwd=project,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert run.stderr.splitlines()[-1] == session["error"]
