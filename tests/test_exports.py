"""``__all__`` of every public module is sorted, complete and documented."""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import commutable
import enchannel
import enchannel_zmq

PACKAGES = [commutable, enchannel, enchannel_zmq]
for package, library in {"enchannel_websocket": "httpx", "enchannel_socketio": "socketio"}.items():
    if importlib.util.find_spec(library):
        PACKAGES.append(importlib.import_module(package))
# Loggers are module-level names that modules do not export.
UNLISTED = {"log"}


def public_modules() -> Iterator[str]:
    for package in PACKAGES:
        yield package.__name__
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not any(part.startswith("_") for part in module.name.split(".")):
                yield module.name


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
            case _:
                pass


def test_all_is_sorted(module: ModuleType) -> None:
    assert list(module.__all__) == sorted(set(module.__all__))


def test_listed_names_exist(module: ModuleType) -> None:
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_public_names_are_listed(module: ModuleType) -> None:
    public = {name for name in names_defined_in(module) if not name.startswith("_")}
    assert public - UNLISTED <= set(module.__all__)


def test_listed_names_have_docstrings(module: ModuleType) -> None:
    assert [name for name in module.__all__ if not is_described(name, getattr(module, name))] == []


def is_described(name: str, value: object) -> bool:
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return True
    # A dataclass or named tuple without a docstring is given its signature.
    return not (value.__doc__ or f"{name}(").startswith(f"{name}(")
