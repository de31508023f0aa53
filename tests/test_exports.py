"""``__all__`` of every public module is sorted, complete, documented, and listed in a file.

Every name in a public annotation can be imported from a public module.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests import exports
from tests.exports import (
    PUBLIC_NAMES,
    Definition,
    definition_of,
    exported_names,
    names_used_by,
    public_modules,
)

# Loggers are module-level names that modules do not export.
UNLISTED = {"log"}
# Only the library creates these objects, so their constructors are not public: see docs/stability.md.
MADE_BY_LIBRARY = {
    "enchannel.Action",
    "enchannel.Channel",
    "enchannel.Comm",
    "enchannel.Errors",
    "enchannel.Heartbeat",
    "enchannel.Kernel",
    "enchannel.Recorder",
    "enchannel.Sent",
    "enchannel.State",
    "enchannel.Subshell",
}
# Made by users, but used by the library alone: their methods are not public.
OPAQUE = {"enchannel_socketio.relay.MemoryStore", "enchannel_socketio.relay.Store"}


@pytest.fixture(params=list(public_modules()))
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def names_defined_in(module: ModuleType) -> Iterator[str]:
    for node in ast.parse(inspect.getsource(module)).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Try(handlers=handlers):
                # To pyright, the variable of an except clause is a name of the module.
                yield from (handler.name for handler in handlers if handler.name)
            case _:
                pass


def test_all_is_sorted(module: ModuleType) -> None:
    assert list(module.__all__) == sorted(set(module.__all__))


def test_listed_names_exist(module: ModuleType) -> None:
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_public_names_are_listed(module: ModuleType) -> None:
    public = {name for name in names_defined_in(module) if not name.startswith("_")}
    assert public - UNLISTED <= set(module.__all__)


def test_public_class_names_are_unique() -> None:
    classes = {
        getattr(module, name)
        for module in map(importlib.import_module, public_modules())
        for name in module.__all__
        if inspect.isclass(getattr(module, name))
    }
    names = [kind.__name__ for kind in classes]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_listed_names_have_docstrings(module: ModuleType) -> None:
    assert [name for name in module.__all__ if not is_described(name, getattr(module, name))] == []


def is_described(name: str, value: object) -> bool:
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return True
    # A dataclass or named tuple without a docstring is given its signature.
    return not (value.__doc__ or f"{name}(").startswith(f"{name}(")


def test_public_names_are_those_of_file(module: ModuleType) -> None:
    """``python -m tests.exports`` writes the file anew. A removed name breaks programs."""
    of_module = [
        line
        for line in PUBLIC_NAMES.read_text(encoding="utf-8").splitlines()
        if line.rpartition(".")[0] == module.__name__
    ]
    assert sorted(exported_names(module)) == of_module


def test_public_modules_of_file_exist() -> None:
    modules = {
        line.rpartition(".")[0] for line in PUBLIC_NAMES.read_text(encoding="utf-8").splitlines()
    }
    installed = {package.__name__ for package in exports.PACKAGES}
    assert {name for name in modules if name.partition(".")[0] in installed} <= set(
        public_modules()
    )


def public_definitions() -> dict[Definition, str]:
    """Return every public definition with one of its public names."""
    definitions: dict[Definition, str] = {}
    for module in public_modules():
        for name in importlib.import_module(module).__all__:
            definition = definition_of(module, name)
            if definition is not None:
                definitions.setdefault(definition, f"{module}.{name}")
    return definitions


def test_names_in_public_annotations_are_public() -> None:
    public = public_definitions()
    missing = {
        f"{name} names {used}"
        for definition, name in public.items()
        if name not in OPAQUE
        for used in names_used_by(definition, constructor=name not in MADE_BY_LIBRARY)
        if used not in public
    }
    assert missing == set()


PARTS = """
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar
if TYPE_CHECKING:
    from sample import other
class Bound: ...
class Hidden: ...
class Inner: ...
class Options: ...
class Parameter: ...
class Quoted: ...
class Result: ...
class State: ...
class Taken: ...
class Created: ...
T = TypeVar("T", bound=Bound)
Alias: TypeAlias = Callable[[Parameter], T]
class Base:
    def __init__(self, options: Options) -> None: ...
    def inherited(self) -> "list[Quoted]": ...
class Made(Base):
    def __init__(self, hidden: Hidden, taken: Taken) -> None:
        self.state: State = State()
        self.taken = taken
        self.created = Created()
        self._inner: Inner = Inner()
    def _private(self) -> Inner: ...
    async def act(self, choice: Literal["Inner"]) -> other.Other: ...
class Derived(Base): ...
"""


@pytest.mark.parametrize(
    ("name", "constructor", "used"),
    [
        ("Alias", True, {"Parameter", "Bound"}),
        ("Made", True, {"Hidden", "State", "Taken", "Created", "Quoted", "Other"}),
        ("Made", False, {"State", "Taken", "Created", "Quoted", "Other"}),
        ("Derived", True, {"Options", "Quoted"}),
        ("Derived", False, {"Quoted"}),
    ],
)
def test_names_used_by_sees_public_annotations(
    name: str, constructor: bool, used: set[str], sample: str
) -> None:
    found = names_used_by(Definition(f"{sample}.parts", name), constructor=constructor)
    assert {definition.name for definition in found} == used


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = tmp_path / "sample"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "parts.py").write_text(PARTS)
    (package / "other.py").write_text("class Other: ...")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(exports, "PACKAGES", [importlib.import_module("sample")])
    return "sample"
