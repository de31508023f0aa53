"""Each extra enables its features; the error of any other feature names the extra to install."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.rigs import DEADLINE
from tests.rigs.extras import INCLUDED

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "rigs" / "extras.py"
# `enchannel[launch]`, or `.[kernel,relay]` in a command.
NAMED_EXTRAS = re.compile(r"(?:\benchannel|\.)\[([a-z,]+)\]")


def test_extras_are_in_table() -> None:
    assert {"none", *(metadata.metadata("enchannel").get_all("Provides-Extra") or [])} == set(
        INCLUDED
    )


def test_readme_has_every_extra() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| extra |")[2]
    listed = re.findall(r"^\| `(\w+)` \|", table.partition("\n\n")[0], re.MULTILINE)
    assert sorted([*listed, "all", "none"]) == sorted(INCLUDED)


def test_named_extras_exist() -> None:
    packages = [path.parent for path in ROOT.glob("*/__init__.py")]
    files = [path for package in packages for path in package.rglob("*.py")]
    files += [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    named = {
        extra
        for path in files
        for found in NAMED_EXTRAS.findall(path.read_text(encoding="utf-8"))
        for extra in found.split(",")
    }
    assert {"kernel", "relay"} <= named <= set(INCLUDED)


@pytest.mark.kernel
@pytest.mark.parametrize("extra", INCLUDED)
def test_extra_enables_its_features(extra: str) -> None:
    """In this environment, with all modules hidden except those of the extra.

    tox runs the same script in an environment of its own for each extra.
    """
    ended = subprocess.run(
        [sys.executable, "-P", SCRIPT, extra, "--hide", *sorted(modules_outside(extra))],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def modules_outside(extra: str) -> set[str]:
    """Return the top-level modules of the distributions that enchannel with the extra does not require."""
    installed = set(distributions_of("enchannel", () if extra == "none" else (extra,)))
    return {
        module
        for module, owners in metadata.packages_distributions().items()
        if not installed.intersection(canonicalize_name(owner) for owner in owners)
    }


def distributions_of(name: str, extras: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the names of a distribution and of all that it requires."""
    waiting = [(canonicalize_name(name), extras)]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        yield name
        for requirement in map(Requirement, metadata.requires(name) or ()):
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                continue
            found = (canonicalize_name(requirement.name), tuple(sorted(requirement.extras)))
            if found not in seen:
                seen.add(found)
                waiting.append(found)
