"""docs/from-javascript.md: every name that nteract's packages export, and Python names that exist."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "from-javascript.md"
# The exported names of each package, with their versions: functions and constants, and types.
EXPORTS: dict[str, Any] = json.loads(
    Path(__file__).with_name("javascript_exports.json").read_text(encoding="utf-8")
)
# A section of the page is named after its package, and may go on after a colon.
SECTION_OF = {"@nteract/commutable": "commutable"}
CODE = re.compile(r"`([^`]+)`")
NAME = re.compile(r"\w+(\.\w+)*")


@dataclass(frozen=True)
class Row:
    """One row of a table of the page."""

    section: str
    javascript: str
    python: str
    differences: str


def read_rows() -> Iterator[Row]:
    section = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith("| JavaScript "):
            javascript, python, differences = line.removeprefix("| ").removesuffix("|").split(" | ")
            yield Row(section, javascript, python, differences.strip())


ROWS = list(read_rows())


def names_in(cell: str) -> Iterator[str]:
    """Yield the names in a cell, without their arguments."""
    for code in CODE.findall(cell):
        name = NAME.match(code)
        if name is not None:
            yield name[0]


def exports_of(package: dict[str, Any]) -> Iterator[str]:
    for names in [package, *package.get("inner modules", {}).values()]:
        yield from names["values"]
        yield from names["types"]


@pytest.mark.parametrize("package", EXPORTS)
def test_every_javascript_export_has_a_row(package: str) -> None:
    section = SECTION_OF.get(package, package)
    named = {
        part
        for row in ROWS
        if row.section.partition(":")[0] == section
        for name in names_in(row.javascript)
        for part in name.split(".")
    }
    assert sorted(set(exports_of(EXPORTS[package])) - named) == []


def test_every_row_has_a_counterpart_or_a_reason() -> None:
    assert [row for row in ROWS if not (list(names_in(row.python)) or row.differences)] == []


def test_every_python_name_exists() -> None:
    named = {(name, row.section) for row in ROWS for name in names_in(row.python)}
    assert sorted((name, section) for name, section in named if not exists(name, section)) == []


def exists(name: str, section: str) -> bool:
    scopes = ["enchannel", "builtins"]
    if section.startswith("commutable"):
        scopes.append("commutable")
    if section == "Subjects":
        scopes.append("enchannel.Channel")
    paths = [f"{scope}.{name}" for scope in scopes]
    return any(map(is_found, paths if "." not in name else [*paths, name]))


def is_found(path: str) -> bool:
    try:
        resolve_name(path)
    except (AttributeError, ImportError):
        return is_annotated(*path.rpartition(".")[::2])
    return True


def is_annotated(path: str, name: str) -> bool:
    """Return True if a class declares an attribute that only its instances have."""
    try:
        found = resolve_name(path)
    except (AttributeError, ImportError, ValueError):
        return False
    bases = found.__mro__ if isinstance(found, type) else ()
    return any(name in base.__dict__.get("__annotations__", {}) for base in bases)
