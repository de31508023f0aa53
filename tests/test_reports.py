"""Failures of tests can be seen, and reproduced from the log."""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

from tests.rigs import DEADLINE

ROOT = Path(__file__).parents[1]
FAILING = """
import sys
import pytest

def test_surrogate_in_assertion():
    assert "\\ud800" == "a", "\\udfff"

def test_surrogate_in_output():
    sys.stderr.buffer.write("\\ud800".encode("utf-8", "surrogatepass"))
    assert False

def test_surrogate_in_exception():
    raise ValueError("\\ud800", {"\\udc00": 1})

@pytest.fixture
def broken():
    yield
    raise KeyError("\\ud800")

def test_surrogate_in_teardown(broken): ...

def test_surrogate_in_property(record_property):
    record_property("\\ud800", ["\\ud800", ("\\ud800",)])
    assert False
"""


def test_worker_reports_lone_surrogates(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    (tmp_path / "test_failing.py").write_text(FAILING)
    plugins = ["-p", "tests.rigs.reports", "-p", "no:randomly", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-n1", *plugins, "-c", "/dev/null", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
    )
    for name in ("assertion", "output", "exception", "property", "teardown"):
        assert f"test_failing.py::test_surrogate_in_{name}" in ended.stdout
    assert "4 failed, 1 passed, 1 error" in ended.stdout
    assert "\\ud800" in ended.stdout


def test_failing_example_can_be_reproduced() -> None:
    settings = hypothesis.settings.default
    assert settings is not None
    assert settings.print_blob
    assert settings.derandomize is ("CI" in os.environ)
