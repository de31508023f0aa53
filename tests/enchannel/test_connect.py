"""connect() and launch(): the backend they choose, and the arguments it gets."""

import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pytest

import enchannel as ec
from enchannel import (
    BackendNotFound,
    ConnectionInfo,
    KernelState,
    MissingDependency,
    NotConnected,
    NotSupported,
    Session,
)
from enchannel._kernel import backend_lookup
from enchannel.abc import Backend, Launcher, Link, OpenContext
from tests.rigs.scripted import ScriptedBackend, ScriptedLifecycle, ScriptedLink
from tests.rigs.threads import run_on_loop


class EntryPoint:
    """An entry point as ``importlib.metadata`` returns it."""

    def __init__(self, name: str, load: Callable[[], object]) -> None:
        self.name = name
        self.value = f"somewhere:{name}"
        self.dist = None
        self.load = load


Install = Callable[..., None]


@pytest.fixture(autouse=True)
def forget_loaded_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_lookup, "_loaded", {})


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs the given backends, and no others."""

    def install(**backends: object) -> None:
        found = [EntryPoint(name, lambda b=backend: b) for name, backend in backends.items()]  # type: ignore[misc]
        monkeypatch.setattr(metadata, "entry_points", lambda group: found)

    install()
    return install


@pytest.fixture
def ada() -> ScriptedLink:
    return ScriptedLink(id="ada")


@pytest.fixture
def backend(ada: ScriptedLink) -> ScriptedBackend:
    backend = ScriptedBackend()
    backend.kernels["ada"] = ada
    return backend


class MemoryLauncher(Launcher):
    """A launcher that returns its own link."""

    contract = 1

    def __init__(self, remote: ScriptedLink) -> None:
        self.remote = remote
        self.launched: list[dict[str, Any]] = []

    def open(self, target: Any, context: OpenContext) -> Link:
        raise NotImplementedError

    def launch(
        self,
        name: str,
        context: OpenContext,
        *,
        cwd: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Link:
        given = {"name": name, "context": context, "cwd": cwd, "extra_env": extra_env}
        self.launched.append(given | options)
        return self.remote.link


# Choosing the backend.


def test_url_scheme_names_backend(install: Install, backend: ScriptedBackend) -> None:
    install(memory=backend, zmq=ScriptedBackend())
    with ec.connect("memory://here/ada") as kernel:
        assert kernel.id == "ada"
    assert [target for target, *_ in backend.opened] == ["memory://here/ada"]


@pytest.mark.parametrize("scheme", ["Memory", "MEMORY"])
def test_url_scheme_is_case_insensitive(
    install: Install, backend: ScriptedBackend, scheme: str
) -> None:
    install(memory=backend)
    ec.connect(f"{scheme}://here/ada").close()


@pytest.mark.parametrize(
    "target",
    [
        "kernel-ada.json",
        "/run/user/ada",
        "ada",
        r"C:\Users\ada",
        Path("ada"),
        {"ip": "ada"},
        ConnectionInfo(ip="10.0.0.1"),
    ],
)
def test_other_targets_use_local_backend(install: Install, ada: ScriptedLink, target: Any) -> None:
    class Any_(ScriptedBackend):
        contract = 1

        def open(self, target: object, context: OpenContext, *, colour: str = "") -> Link:
            self.opened.append((target, context.session, context.timeout, colour))
            return ada.link

    local = Any_()
    install(zmq=local)
    ec.connect(target).close()
    assert local.opened[0][0] is target


def test_existing_file_is_not_url(
    install: Install,
    backend: ScriptedBackend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("memory:ada").touch()
    backend.kernels["memory:ada"] = backend.kernels["ada"]
    install(zmq=backend, memory=ScriptedBackend())
    ec.connect("memory:ada").close()
    assert len(backend.opened) == 1


def test_unknown_backend_lists_installed(install: Install, backend: ScriptedBackend) -> None:
    install(zmq=backend, memory=backend)
    with pytest.raises(BackendNotFound, match="no backend 'gopher'; installed: memory, zmq"):
        ec.connect("gopher://here/ada")


def test_no_backend_installed(install: Install) -> None:
    with pytest.raises(BackendNotFound, match="no backend 'zmq'; installed: none"):
        ec.connect("kernel-ada.json")


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
def test_missing_server_backend_names_extra(install: Install, scheme: str) -> None:
    with pytest.raises(BackendNotFound, match=r'pip install "enchannel\[websocket\]"'):
        ec.connect(f"{scheme}://host/api/kernels/ada")


def test_failed_import_of_backend_is_chained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load() -> object:
        raise ImportError("No module named 'woo'")

    found = [EntryPoint("memory", load)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: found)
    with pytest.raises(MissingDependency, match="cannot be imported: No module named 'woo'") as it:
        ec.connect("memory://here/ada")
    assert isinstance(it.value.__cause__, ImportError)


@pytest.mark.parametrize("thing", [ScriptedBackend, object(), None])
def test_entry_point_must_be_backend(install: Install, thing: object) -> None:
    install(memory=thing)
    with pytest.raises(BackendNotFound, match="must be a Backend instance, not somewhere:memory"):
        ec.connect("memory://here/ada")


def test_backend_of_other_contract_raises(
    install: Install, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedBackend, "contract", 2)
    install(memory=backend)
    with pytest.raises(BackendNotFound, match="implements contract 2, not 1"):
        ec.connect("memory://here/ada")
    assert backend.opened == []


def test_backends_are_loaded_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = list[str]()

    def entry_points(group: str) -> list[EntryPoint]:
        groups.append(group)
        return []

    monkeypatch.setattr(metadata, "entry_points", entry_points)

    assert groups == []
    with pytest.raises(BackendNotFound):
        ec.connect("memory://here/ada")
    assert groups == ["enchannel.backends"]


def test_backends_are_loaded_once(
    monkeypatch: pytest.MonkeyPatch, backend: ScriptedBackend
) -> None:
    groups = list[str]()

    def entry_points(group: str) -> list[EntryPoint]:
        groups.append(group)
        return [EntryPoint("memory", lambda: backend)]

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    for _ in range(2):
        ec.connect("memory://here/ada").close()
    assert len(groups) == 1
    for _ in range(2):
        # A backend that is installed meanwhile is found.
        with pytest.raises(BackendNotFound):
            ec.connect("gopher://here/ada")
    assert len(groups) == 3


# Arguments of the backend.


def test_backend_gets_session_and_timeout(install: Install, backend: ScriptedBackend) -> None:
    install(memory=backend)
    session = Session(id="s1")
    with ec.connect("memory://here/ada", session=session, timeout=3, colour="red") as kernel:
        assert kernel.session is session
    assert backend.opened == [("memory://here/ada", session, 3, "red")]


def test_each_connection_has_own_session(install: Install, backend: ScriptedBackend) -> None:
    install(memory=backend)
    with ec.connect("memory://here/ada") as one, ec.connect("memory://here/ada") as other:
        assert one.session.id != other.session.id


UNKNOWN_OPTION = "unknown option 'flavour' for the backend 'memory'; options: "


def test_unknown_option_raises_type_error(install: Install, backend: ScriptedBackend) -> None:
    install(memory=backend)
    with pytest.raises(TypeError, match=UNKNOWN_OPTION + "colour; use 'colour' instead$"):
        ec.connect("memory://here/ada", flavour="salty")
    assert backend.opened == []


class Keywords(TypedDict, total=False):
    colour: str
    size: int


class TypedBackend(ScriptedBackend):
    contract = 1

    def open(self, target: Any, context: OpenContext, **options: Unpack[Keywords]) -> Link:
        return super().open(target, context, colour=options.get("colour", ""))


def test_unknown_option_beside_typed_dict_raises(install: Install, ada: ScriptedLink) -> None:
    backend = TypedBackend()
    backend.kernels["ada"] = ada
    install(memory=backend)
    with pytest.raises(TypeError, match=UNKNOWN_OPTION + "colour, size; use 'colour' instead$"):
        ec.connect("memory://here/ada", flavour="salty")
    ec.connect("memory://here/ada", colour="red").close()
    assert backend.opened[0][3] == "red"


def test_untyped_options_are_passed_on(install: Install, launcher: MemoryLauncher) -> None:
    install(zmq=launcher)
    ec.launch(flavour="salty").close()
    assert launcher.launched[0]["flavour"] == "salty"


def test_missing_option_raises_type_error(install: Install) -> None:
    class Demanding(ScriptedBackend):
        contract = 1

        def open(self, target: Any, context: OpenContext, *, colour: str) -> Link:  # type: ignore[override]
            raise NotImplementedError

    install(memory=Demanding())
    with pytest.raises(TypeError, match="missing a required argument: 'colour'"):
        ec.connect("memory://here/ada")


def test_scheduler_is_passed_to_backend(
    install: Install, backend: ScriptedBackend, ada: ScriptedLink
) -> None:
    install(memory=backend)
    ada.heartbeat_handler = ada.send_heartbeat
    with ec.connect("memory://here/ada", scheduler=ada.clock, silent_after=3) as kernel:
        assert kernel.heartbeat.silent_after == 3
        ada.heartbeat_handler = lambda _: None
        ada.clock.advance_by(5)
        assert kernel.state.value is KernelState.SILENT


def test_connect_on_loop_opens_on_entering(install: Install, backend: ScriptedBackend) -> None:
    install(memory=backend)

    async def main() -> None:
        kernel = ec.connect("memory://here/ada")
        assert backend.opened == []
        assert "memory://here/ada" in repr(kernel)
        with pytest.raises(NotConnected, match="not connected yet"):
            kernel.execute("6 * 7")
        async with kernel:
            assert kernel.id == "ada"

    run_on_loop(main)


def test_connect_on_loop_fails_on_entering(install: Install, backend: ScriptedBackend) -> None:
    install(memory=backend)

    async def main() -> None:
        kernel = ec.connect("memory://here/eve")
        with pytest.raises(KeyError, match="eve"):
            await kernel

    run_on_loop(main)


# Launching.


@pytest.fixture
def launcher() -> MemoryLauncher:
    return MemoryLauncher(ScriptedLink(id="ada", lifecycle=ScriptedLifecycle()))


def test_launch_uses_local_backend(install: Install, launcher: MemoryLauncher) -> None:
    install(zmq=launcher)
    session = Session()
    with ec.launch(
        "python3",
        cwd="somewhere",
        extra_env={"A": "b"},
        timeout=7,
        session=session,
        transport="tcp",
    ) as kernel:
        assert kernel.owned
    assert launcher.launched == [
        {
            "name": "python3",
            "context": OpenContext(session=session, timeout=7),
            "cwd": Path("somewhere"),
            "extra_env": {"A": "b"},
            "transport": "tcp",
        }
    ]


def test_launch_defaults_to_python3(install: Install, launcher: MemoryLauncher) -> None:
    install(zmq=launcher)
    ec.launch().close()
    (given,) = launcher.launched
    assert (given["name"], given["cwd"], given["extra_env"]) == ("python3", None, None)


def test_launch_at_server_uses_its_backend(install: Install, launcher: MemoryLauncher) -> None:
    install(https=launcher, zmq=ScriptedBackend())
    ec.launch("python3", at="https://host").close()
    assert launcher.launched[0]["context"].at == "https://host"


def test_backend_without_launch_raises(install: Install, backend: ScriptedBackend) -> None:
    install(memory=backend, zmq=backend)
    with pytest.raises(NotSupported, match="'memory' cannot launch kernels"):
        ec.launch(at="memory://here")
    with pytest.raises(NotSupported, match="'zmq' cannot launch kernels"):
        ec.launch()


def test_launch_on_loop_starts_on_entering(install: Install, launcher: MemoryLauncher) -> None:
    install(zmq=launcher)

    async def main() -> None:
        kernel = ec.launch("deno")
        assert launcher.launched == []
        assert repr(kernel) == "<Kernel deno connecting, starting>"
        async with kernel:
            pass

    run_on_loop(main)
    assert launcher.remote.closed == 1


# Entry points.


def install_distribution(directory: Path, name: str, entry_point: str) -> None:
    """Install a package: a directory of metadata on ``sys.path``."""
    info = directory / f"{name}-1.0.dist-info"
    info.mkdir()
    info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    info.joinpath("entry_points.txt").write_text(f"[enchannel.backends]\n{entry_point}\n")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("", "AttributeError: module 'broken_one' has no attribute 'backend'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("}", "SyntaxError: unmatched '}'"),
    ],
)
def test_broken_entry_point_names_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, cause: str
) -> None:
    install_distribution(tmp_path, "broken-dist", "pigeon = broken_one:backend")
    tmp_path.joinpath("broken_one.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        BackendNotFound, match=f"from broken_one:backend of broken-dist failed: {cause}"
    ):
        ec.connect("pigeon://here/ada")
    sys.modules.pop("broken_one", None)


@pytest.mark.parametrize("scheme", ["pigeon", "zmq"])
def test_scheme_of_two_distributions_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    install_distribution(tmp_path, "one-dist", f"{scheme} = one:backend")
    install_distribution(tmp_path, "other-dist", f"{scheme} = other:backend")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendNotFound, match="one:backend of one-dist and other:backend of other"):
        ec.launch(backend=scheme)


def test_backend_is_found_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_distribution(tmp_path, "somebodys", "pigeon = somebodys:backend")
    tmp_path.joinpath("somebodys.py").write_text(
        "from tests.rigs.scripted import ScriptedBackend, ScriptedLink\n"
        "backend = ScriptedBackend()\n"
        "backend.kernels['ada'] = ScriptedLink(id='ada')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with ec.connect("pigeon://here/ada") as kernel:
        assert kernel.id == "ada"
    backend: Backend = sys.modules.pop("somebodys").backend
    assert isinstance(backend, ScriptedBackend)
    assert len(backend.opened) == 1


def test_backend_instance_is_used(backend: ScriptedBackend) -> None:
    with ec.connect("anything/ada", backend=backend) as kernel:
        assert kernel.id == "ada"


def test_backend_name_is_used(install: Install, backend: ScriptedBackend) -> None:
    install(pigeon=backend)
    with ec.connect("ada", backend="pigeon") as kernel:
        assert kernel.id == "ada"


def test_backend_must_be_instance() -> None:
    with pytest.raises(
        TypeError, match="backend must be a Backend instance or a name, not <object"
    ):
        ec.connect("ada", backend=object())  # type: ignore[arg-type]
