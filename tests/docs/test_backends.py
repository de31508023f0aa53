"""The page that makes a backend, done as it says: in an empty directory, with what stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rigs import DEADLINE

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "backends.md"
EXAMPLE = ROOT / "examples" / "pigeon"
FILE = re.compile(r"^`(?P<name>\w+\.py)`:\n\n```python\n(?P<text>.*?)^```$", re.M | re.S)


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    for file in FILE.finditer(PAGE.read_text(encoding="utf-8")):
        (tmp_path / file["name"]).write_text(file["text"], encoding="utf-8")
    return tmp_path


def test_the_example_is_what_the_page_says(workplace: Path) -> None:
    of_the_page = {path.name: path.read_text() for path in workplace.iterdir()}
    assert of_the_page == {path.name: path.read_text() for path in EXAMPLE.glob("*.py")}
    entry_point = 'pigeon = "pigeon:backend"'
    assert entry_point in PAGE.read_text(encoding="utf-8")
    assert entry_point in (EXAMPLE / "pyproject.toml").read_text()


def test_the_backend_of_the_page_passes_the_suite(workplace: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-rs", "test_pigeon.py"]
    run = subprocess.run(
        command, cwd=workplace, capture_output=True, encoding="utf-8", timeout=2 * DEADLINE
    )
    assert run.returncode == 0, run.stdout
    assert "whoever catches a pigeon can read its letter" in run.stdout


@pytest.mark.kernel
def test_a_real_kernel_is_reached_by_pigeon(workplace: Path) -> None:
    loft = subprocess.Popen(
        [sys.executable, "loft.py", "python3", "0"],
        cwd=workplace,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    with loft:
        assert loft.stdout is not None
        url = loft.stdout.readline().strip()
        run = subprocess.run(
            [sys.executable, "-W", "error", "talk.py", url],
            cwd=workplace,
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE,
        )
        loft.communicate(timeout=DEADLINE)
    assert (run.stdout, run.stderr) == ("42\n", "")
    assert loft.returncode == 0
