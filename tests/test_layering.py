"""The layers of the architecture, read from the imports: see docs/design.md."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.rigs import DEADLINE

ROOT = Path(__file__).parents[1]
STDLIB = sys.stdlib_module_names
VALUES = (
    "enchannel._outputs",
    "enchannel._protocol",
    "enchannel.contents",
    "enchannel.errors",
    "enchannel.frozen",
    "enchannel.messages",
    "enchannel.wire",
)
APPLICATIONS = ("enchannel.__main__", "enchannel._cli")
# The part of the command line that runs notebooks. It needs an extra, and is imported in a function.
NOTEBOOK_RUNNER = "enchannel._cli.notebook"
# The libraries of each backend, and those that it imports on demand only: in functions, or in
# modules that are imported in functions.
BACKENDS = {
    "enchannel_socketio": (
        {"aiohttp", "msgspec", "socketio", "starlette", "uvicorn"},
        {"redis"},
    ),
    "enchannel_websocket": ({"httpx", "websockets"}, set()),
    "enchannel_zmq": ({"zmq"}, {"jupyter_client", "jupyter_core", "traitlets"}),
}


@dataclass(frozen=True)
class Import:
    """One imported name, absolute: ``from enchannel import abc`` is ``enchannel.abc``."""

    importer: str
    target: str
    line: int
    lazy: bool
    for_typing: bool

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: {self.target}"

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]

    @property
    def private(self) -> bool:
        names = self.target.split(".")
        return any(name.startswith("_") and not name.endswith("__") for name in names)

    def inside(self, *modules: str) -> bool:
        return is_inside(self.target, *modules)


def is_inside(name: str, *modules: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def is_application(module: str) -> bool:
    return module.startswith(APPLICATIONS)


def imports_of(package: str) -> Iterator[Import]:
    for path in sorted((ROOT / package).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        parent = module.rpartition(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from imports_in(tree, module.removesuffix(".__init__"), parent)


def imports_in(
    node: ast.AST, module: str, parent: str, lazy: bool = False, for_typing: bool = False
) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            for target in targets(child, parent):
                yield Import(module, target, child.lineno, lazy, for_typing)
        yield from imports_in(
            child,
            module,
            parent,
            lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef),
            for_typing
            or (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")),
        )


def targets(node: ast.Import | ast.ImportFrom, parent: str) -> list[str]:
    names = [alias.name for alias in node.names]
    if isinstance(node, ast.Import):
        return names
    # One dot is the module's own package, each further dot one above it.
    above = parent.split(".")[: 1 - node.level or None] if node.level else []
    module = ".".join([*above, *filter(None, [node.module])])
    return [f"{module}.{name}" for name in names]


def eagerly_imported(imports: list[Import]) -> set[str]:
    """Return the modules that are imported together with their package, not only when needed."""
    lazy = {i.target.rpartition(".")[0] for i in imports if i.lazy}
    found: set[str] = set()
    importers = {i.importer for i in imports} - lazy
    while importers - found:
        found |= importers
        importers = {
            i.target.rpartition(".")[0]
            for i in imports
            if i.importer in found and not (i.lazy or i.for_typing)
        }
    return found


def assert_none(violations: Iterable[Import]) -> None:
    found = [str(violation) for violation in violations]
    assert not found, "\n".join(found)


def test_values_import_values_only() -> None:
    """Layer 0."""
    assert_none(
        i
        for i in imports_of("enchannel")
        if is_inside(i.importer, *VALUES)
        and not (i.top in STDLIB or i.top == "msgspec" or i.inside(*VALUES))
        and not (i.for_typing and i.inside("enchannel"))
    )


def test_core_imports_no_backend() -> None:
    """Layers 1 and 2: backends are found through entry points."""
    assert_none(
        i
        for i in imports_of("enchannel")
        if not is_application(i.importer)
        and not is_inside(i.importer, "enchannel.testing")
        and not (i.top in STDLIB or i.top in {"msgspec", "reactivex", "enchannel"})
    )


def test_kit_imports_public_names() -> None:
    """Layer 3."""
    allowed = {"enchannel", "hypothesis", "msgspec", "pytest", "reactivex"}
    assert_none(
        i
        for i in imports_of("enchannel")
        if is_inside(i.importer, "enchannel.testing")
        and not i.inside("enchannel.testing")
        and (i.private or not (i.top in STDLIB or i.top in allowed))
    )


@pytest.mark.parametrize("package", BACKENDS)
def test_backend_imports_public_names(package: str) -> None:
    """Layer 4: public names, its own library, and no other backend."""
    own, when_needed = BACKENDS[package]
    imports = list(imports_of(package))
    eager = eagerly_imported(imports)
    assert_none(
        i
        for i in imports
        if not (
            i.top in STDLIB
            or i.top == package
            or i.top in {"reactivex", *own}
            or (i.top == "enchannel" and not i.private)
            or (i.top in when_needed and (i.lazy or i.for_typing or i.importer not in eager))
        )
    )


def test_value_modules_exist() -> None:
    paths = [ROOT.joinpath(*module.split(".")) for module in VALUES]
    assert [
        path.name for path in paths if not (path.is_dir() or path.with_suffix(".py").exists())
    ] == []


def test_backends_are_in_table() -> None:
    assert {path.name for path in ROOT.glob("enchannel_*")} == set(BACKENDS)


def test_command_line_imports_public_names() -> None:
    """Layer 5."""
    assert_none(
        i
        for i in imports_of("enchannel")
        if is_application(i.importer)
        and i.top.startswith("enchannel")
        and i.private
        and not is_application(i.target)
    )


def test_commutable_imports_public_names() -> None:
    """Layer 5: public names, and nbformat on demand."""
    assert_none(
        i
        for i in imports_of("commutable")
        if not (
            i.top in STDLIB
            or i.top in {"commutable", "reactivex"}
            or (i.top == "enchannel" and not i.private)
            or (i.top == "nbformat" and i.lazy)
        )
    )


def test_only_command_line_imports_commutable() -> None:
    """Only the modules of the command line that run notebooks do."""
    assert_none(
        i
        for package in ("enchannel", *BACKENDS)
        for i in imports_of(package)
        if i.top == "commutable" and not is_inside(i.importer, NOTEBOOK_RUNNER)
    )
    assert_none(
        i
        for i in imports_of("enchannel")
        if i.inside(NOTEBOOK_RUNNER) and not (i.lazy or is_inside(i.importer, NOTEBOOK_RUNNER))
    )


def test_core_imports_without_backend_libraries() -> None:
    script = """if True:
        import sys

        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in sys.argv[1:]:
                    raise ImportError(f"{name} is blocked")

        sys.meta_path.insert(0, Blocker())
        import enchannel
    """
    blocked = ["zmq", "websockets", "socketio", "httpx", "aiohttp", "jupyter_client"]
    run = subprocess.run(
        [sys.executable, "-c", script, *blocked],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert run.returncode == 0, run.stderr


# -- cycles and private names -------------------------------------------------------------------------

SOURCES = ("enchannel", *BACKENDS, "commutable")
# Named tuples have public methods with an underscore. The others are of libraries that offer no other way.
PUBLIC_OR_FOREIGN = {"_asdict", "_fields", "_binary_packet", "_qtcore"}


def module_names() -> set[str]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in SOURCES
        for path in (ROOT / package).rglob("*.py")
    }


def module_graph() -> dict[str, set[str]]:
    """Return the modules that each module imports, also in functions and for annotations only."""
    graph: dict[str, set[str]] = {name: set() for name in module_names()}
    for found in (i for package in SOURCES for i in imports_of(package)):
        target = found.target
        while target and target not in graph:
            target = target.rpartition(".")[0]
        if target and target != found.importer:
            graph[found.importer].add(target)
    return graph


def test_imports_have_no_cycle() -> None:
    try:
        TopologicalSorter(module_graph()).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def private_accesses(path: Path) -> Iterator[str]:
    """Yield each access to a private attribute that the module does not define itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = set(defined_names(tree)) | PUBLIC_OR_FOREIGN
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr not in own:
            if node.attr.startswith("_") and not node.attr.startswith("__"):
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"


def defined_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                yield name
            case _:
                pass


@pytest.mark.parametrize("package", SOURCES)
def test_modules_keep_private_names(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert [found for path in files for found in private_accesses(path)] == []
