"""docs/stability.md agrees with the code: modules, versions, exit codes, requirements."""

import importlib
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from enchannel._cli.exit_code import ExitCode
from enchannel._recordings import format as recording_format
from enchannel.abc import CONTRACT_VERSION
from enchannel_socketio._packet import PROTOCOL_VERSION
from enchannel_socketio.relay._disk_store import LOG_FORMAT_VERSION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def cells_of(first_header: str) -> dict[str, str]:
    """Return the first two columns of the table with this header."""
    table = PAGE.partition(f"| {first_header} |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table
    rows = (row.strip("| ").split(" | ") for row in table)
    return {row[0]: row[1] for row in rows}


def public_modules_of(package: str) -> Iterator[str]:
    """Yield the public modules directly below a package, without its name."""
    found = importlib.import_module(package)
    for module in pkgutil.iter_modules(found.__path__):
        if not module.name.startswith("_"):
            yield f".{module.name}"


def test_every_public_module_is_listed() -> None:
    rows = cells_of("package")
    assert sorted(name.strip("`") for name in rows) == sorted(
        PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    )
    for package, modules in rows.items():
        listed = set(re.findall(r"`([^`]+)`", modules))
        assert listed == {package.strip("`"), *public_modules_of(package.strip("`"))}


def test_version_numbers_are_those_of_the_code() -> None:
    versions = {re.split(r" [(\[]", name)[0]: version for name, version in cells_of("what").items()}
    assert versions["backend contract"] == str(CONTRACT_VERSION)
    assert versions["recordings"] == str(recording_format.VERSION)
    assert versions["relay protocol"] == str(PROTOCOL_VERSION)
    assert versions["logs of a relay on disk"] == str(LOG_FORMAT_VERSION)


def test_exit_codes_are_those_of_the_code() -> None:
    listed = {int(code) for code in cells_of("exit code")}
    assert listed == {int(code) for code in ExitCode}


def test_reactivex_requirement_is_that_of_the_project() -> None:
    (requirement,) = (d for d in PYPROJECT["project"]["dependencies"] if d.startswith("reactivex"))
    assert f"`{requirement}`" in PAGE
    others = PYPROJECT["project"]["dependencies"] + sum(
        PYPROJECT["project"]["optional-dependencies"].values(), []
    )
    assert [other for other in others if "<" in other and not other.startswith("reactivex")] == []
