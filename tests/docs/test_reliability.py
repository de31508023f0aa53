"""Every test that docs/reliability.md names exists, and every fault test is named there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
CAMPAIGN = [
    *(
        f"tests/enchannel_zmq/test_{name}.py"
        for name in ("lossless", "hangs", "leaks", "intruders")
    ),
    *(f"tests/enchannel_websocket/test_{name}.py" for name in ("reconnecting", "death")),
    "tests/test_secrets.py",
]


def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return {name for name in functions if name.startswith("test_")}


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_named_test_exists(path: str, name: str) -> None:
    assert name in names_in(path)


@pytest.mark.parametrize("path", CAMPAIGN)
def test_fault_test_is_named(path: str) -> None:
    named = {name for where, name in NAMED if where == path}
    assert names_in(path) - named <= {"test_leak_in_error_is_found"}


def test_rows_name_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
    bare = [row for row in rows if "::" not in row and "| test |" not in row]
    assert [row for row in bare if not row.endswith("| the same |")] == []
