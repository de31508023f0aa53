"""Find the public names of the packages, and the names that their public annotations use.

``python -m tests.exports`` writes ``tests/public_names.txt``; ``tests/test_exports.py`` asserts. Names are
followed through the source, because annotations are not evaluated: aliases would be lost.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import commutable
import enchannel
import enchannel_zmq

__all__ = [
    "PUBLIC_NAMES",
    "Definition",
    "definition_of",
    "exported_names",
    "names_used_by",
    "public_modules",
]

PUBLIC_NAMES = Path(__file__).parent / "public_names.txt"
PACKAGES = [commutable, enchannel, enchannel_zmq]
for package, library in {"enchannel_websocket": "httpx", "enchannel_socketio": "socketio"}.items():
    if importlib.util.find_spec(library):
        PACKAGES.append(importlib.import_module(package))


def public_modules() -> Iterator[str]:
    """Yield the names of the modules without an underscore in their path."""
    for package in PACKAGES:
        yield package.__name__
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not any(part.startswith("_") for part in module.name.split(".")):
                yield module.name


@dataclass(frozen=True)
class Definition:
    """A name at the top level of a module of the packages, where it is defined.

    Attributes:
        module: The module that defines it.
        name: Its name there.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def definition_of(module: str, dotted: str) -> Definition | None:
    """Return where a name that a module uses is defined, or None for a name of another package.

    Args:
        module: The module that uses the name.
        dotted: A name at its top level, or a path such as ``contents.Stream``.
    """
    name, _, rest = dotted.partition(".")
    if name in _top_level(module):
        return Definition(module, name)
    if name not in _imports(module):
        return None
    source, imported = _imports(module)[name]
    if not _is_ours(source):
        return None
    if imported is None or _is_module(f"{source}.{imported}"):
        submodule = source if imported is None else f"{source}.{imported}"
        return definition_of(submodule, rest) if rest else None
    return definition_of(source, imported)


def names_used_by(definition: Definition, *, constructor: bool = True) -> Iterator[Definition]:
    """Yield the names of the packages in the annotations that users of a definition see.

    Type variables are replaced by their bounds. The members of a class include inherited ones.

    Args:
        definition: A function, class, alias, or variable.
        constructor: False leaves out the parameters of a class.
    """
    for node in _top_level(definition.module)[definition.name]:
        for expression in _annotations(node, constructor=constructor):
            for dotted in _names_in(expression):
                used = definition_of(definition.module, dotted)
                if used is None or used == definition:
                    continue
                if _is_type_variable(used):
                    yield from names_used_by(used)
                else:
                    yield used
        if isinstance(node, ast.ClassDef):
            inherited = constructor and not _has_constructor(node)
            for base in _bases(definition.module, node):
                yield from names_used_by(base, constructor=inherited)


def _is_type_variable(definition: Definition) -> bool:
    (node, *_) = _top_level(definition.module)[definition.name]
    match node:
        case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"))):
            return True
        case _:
            return False


def _has_constructor(node: ast.ClassDef) -> bool:
    return any(
        isinstance(child, ast.FunctionDef) and child.name == "__init__" for child in node.body
    )


@cache
def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


@cache
def _top_level(module: str) -> dict[str, list[ast.stmt]]:
    """Return the statements that define the names of a module; a function may have overloads."""
    names: dict[str, list[ast.stmt]] = {}
    for node in _statements(_tree(module)):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                names.setdefault(name, []).append(node)
            case ast.Assign(targets=targets):
                for target in targets:
                    if isinstance(target, ast.Name):
                        names.setdefault(target.id, []).append(node)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.setdefault(name, []).append(node)
            case _:
                pass
    return names


@cache
def _imports(module: str) -> dict[str, tuple[str, str | None]]:
    """Return the module and the name there, or None, that each imported name stands for."""
    imports: dict[str, tuple[str, str | None]] = {}
    for node in _statements(_tree(module)):
        match node:
            case ast.ImportFrom(module=source, names=names, level=0) if source:
                for alias in names:
                    imports[alias.asname or alias.name] = source, alias.name
            case ast.Import(names=names):
                for alias in names:
                    name = alias.asname or alias.name.partition(".")[0]
                    imports[name] = (alias.name if alias.asname else name), None
            case _:
                pass
    return imports


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements of a module, and those below ``if`` and ``try``."""
    for node in tree.body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from (child for child in ast.walk(node) if isinstance(child, ast.stmt))


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in {package.__name__ for package in PACKAGES}


@cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _bases(module: str, node: ast.ClassDef) -> Iterator[Definition]:
    """Yield the base classes from the packages, whose members a class inherits."""
    for base in node.bases:
        expression = base.value if isinstance(base, ast.Subscript) else base
        found = definition_of(module, ast.unparse(expression))
        if found is not None:
            yield found


def _annotations(node: ast.stmt, *, constructor: bool) -> Iterator[ast.expr]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from _signature(node)
        case ast.ClassDef(bases=bases, body=body):
            yield from (base.slice for base in bases if isinstance(base, ast.Subscript))
            for child in body:
                yield from _member_annotations(child, constructor=constructor)
        case ast.AnnAssign(annotation=annotation, value=value):
            yield annotation
            if value is not None and ast.unparse(annotation).endswith("TypeAlias"):
                yield value
        case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"), keywords=keywords)):
            yield from (keyword.value for keyword in keywords if keyword.arg == "bound")
        case ast.Assign(value=ast.Subscript() | ast.BinOp() as alias):
            yield alias
        case _:
            pass


def _member_annotations(node: ast.stmt, *, constructor: bool) -> Iterator[ast.expr]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            if _is_visible(name) and (constructor or name != "__init__"):
                yield from _signature(node)
            yield from _attribute_annotations(node)
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if _is_visible(name):
            yield annotation
        case _:
            pass


def _attribute_annotations(method: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
    """Yield the annotations of visible attributes; inferred ones are those of a parameter or class."""
    parameters = {
        argument.arg: argument.annotation
        for argument in (*method.args.args, *method.args.kwonlyargs)
        if argument.annotation is not None
    }
    for child in ast.walk(method):
        match child:
            case ast.AnnAssign(
                target=ast.Attribute(value=ast.Name(id="self"), attr=attribute),
                annotation=annotation,
            ) if _is_visible(attribute):
                yield annotation
            case ast.Assign(
                targets=[ast.Attribute(value=ast.Name(id="self"), attr=attribute)], value=value
            ) if _is_visible(attribute):
                match value:
                    case ast.Name(id=name) if name in parameters:
                        yield parameters[name]
                    case ast.Call(func=ast.Name(id=name) as called) if name.lstrip("_")[
                        :1
                    ].isupper():
                        yield called
                    case _:
                        pass
            case _:
                pass


def _is_visible(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
    arguments = node.args
    for argument in (
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        *filter(None, (arguments.vararg, arguments.kwarg)),
    ):
        if argument.annotation is not None:
            yield argument.annotation
    if node.returns is not None:
        yield node.returns


def _names_in(expression: ast.expr) -> Iterator[str]:
    match expression:
        case ast.Name(id=name):
            yield name
        case ast.Attribute():
            yield ast.unparse(expression)
        case ast.Subscript(value=ast.Name(id="Literal")):
            pass
        case ast.Constant(value=str(text)):
            yield from _names_in(ast.parse(text, mode="eval").body)
        case _:
            for child in ast.iter_child_nodes(expression):
                if isinstance(child, ast.expr):
                    yield from _names_in(child)


def exported_names(module: ModuleType) -> list[str]:
    """Return the public names of a module with its path, as ``tests/public_names.txt`` lists them."""
    return [f"{module.__name__}.{name}" for name in module.__all__]


if __name__ == "__main__":
    lines = [
        line for name in public_modules() for line in exported_names(importlib.import_module(name))
    ]
    PUBLIC_NAMES.write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8")
