"""Docstrings, comments and error texts follow the rules of tests/prose.py; Markdown is wrapped."""

import re
from pathlib import Path

import pytest

from tests.prose import python_files, violations_in

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "benchmarks",
    "commutable",
    "enchannel",
    "enchannel_socketio",
    "enchannel_websocket",
    "enchannel_zmq",
    "examples",
    "tests",
)
# Known violations, by file. The list only shrinks.
ALLOWED: dict[str, int] = {}
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MAX_COLUMNS = 120


@pytest.mark.parametrize("folder", FOLDERS)
def test_prose_follows_rules(folder: str) -> None:
    found = [
        violation
        for path in python_files(ROOT / folder)
        for violation in list(violations_in(path))[ALLOWED.get(str(path.relative_to(ROOT)), 0) :]
    ]
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("path", ALLOWED)
def test_allowed_violations_exist(path: str) -> None:
    assert len(list(violations_in(ROOT / path))) == ALLOWED[path]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_markdown_prose_is_wrapped(page: Path) -> None:
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("|")]
    assert [line for line in lines if len(line) > MAX_COLUMNS] == []


# -- tests of the checks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ('"""What arrives."""', "opening"),
        ('"""Whether it is open."""', "opening"),
        ('PHASE = 1\n"""It is open."""', "opening"),
        ('"""Return what arrives."""', "headless"),
        ("# Told to who asks.\n", "headless"),
        ('raise ValueError("x is no URL")', "negation"),
        ("# Nobody listens.\n", "negation"),
        ("LINGER = 1.0\n", "constant"),
    ],
)
def test_violation_is_found(source: str, rule: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert rule in {violation.rule for violation in violations_in(path)}


@pytest.mark.parametrize(
    "source",
    [
        '"""Return the messages that arrive."""',
        "# The user decides what to do.\n",
        '"""Return True if ``what it is`` is code."""',
        'raise ValueError("x is not a URL")',
        "CLOSE_TIMEOUT = 1.0\n",
    ],
)
def test_plain_prose_passes(source: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert list(violations_in(path)) == []
