"""``enchannel.__version__`` is that of the installed distribution."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import enchannel as ec
from tests.rigs import DEADLINE


def test_version_is_that_of_the_distribution() -> None:
    assert ec.__version__ == version("enchannel")


def test_version_costs_no_import_time() -> None:
    code = "import sys, enchannel; sys.exit('importlib.metadata' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=DEADLINE, cwd=Path.home())


def test_unknown_attribute_raises() -> None:
    with pytest.raises(AttributeError, match="module 'enchannel' has no attribute 'nothing'"):
        getattr(ec, "nothing")  # noqa: B009  # type checkers know that it does not exist
