"""Checks the contents of an extra: ``python -P tests/rigs/extras.py EXTRA`` where no other is installed.

Each feature either works, or fails with an error that names the extra to install. Without ``-P`` the
modules beside this file would hide libraries of the same name.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import enchannel as ec

UNUSED_PORT = 1  # refuses connections


# -- features: each imports its own libraries --------------------------------------------------------


def connect_in_memory(directory: Path) -> None:
    import enchannel as ec
    from enchannel.memory import InMemoryKernel

    with InMemoryKernel() as kernel, ec.connect(kernel.target):
        pass


def launch_kernelspec(directory: Path) -> None:
    import enchannel as ec

    try:
        ec.launch("no-such-kernelspec").close()
    except ec.LaunchFailed as error:
        if "no kernelspec 'no-such-kernelspec'" not in str(error):
            raise


def list_kernelspecs(directory: Path) -> None:
    import enchannel as ec

    ec.list_kernelspecs()


def launch_python(directory: Path) -> None:
    import enchannel as ec

    with ec.launch() as kernel:
        assert kernel.run("6 * 7").outputs.text == "42"


def connect_to_server(directory: Path) -> None:
    connect_refused(f"http://localhost:{UNUSED_PORT}/api/kernels/ada")


def connect_to_relay(directory: Path) -> None:
    connect_refused(f"socketio+http://localhost:{UNUSED_PORT}/ada")


def run_relay(directory: Path) -> None:
    import enchannel as ec
    from enchannel.memory import InMemoryKernel
    from enchannel_socketio.relay import Relay, RelayServer

    relay = Relay(token="a-token-of-the-test")
    with InMemoryKernel() as kernel, RelayServer(relay, port=0) as server:
        shared = server.call(relay.share(kernel.target))
        with ec.connect(f"socketio+{server.url}/{shared}", token="a-token-of-the-test"):
            pass


def open_redis_store(directory: Path) -> None:
    from enchannel_socketio.relay import make_store

    make_store(f"redis://localhost:{UNUSED_PORT}")


def save_notebook(directory: Path) -> None:
    import commutable as cm

    cm.save(cm.empty_notebook, directory / "empty.ipynb")
    importlib.import_module("enchannel._cli.notebook.command")


def import_suite(directory: Path) -> None:
    for name in ("enchannel.testing", "enchannel.testing.strategies", "enchannel_zmq.testing"):
        importlib.import_module(name)


def connect_refused(url: str) -> None:
    """Connect where nothing listens: the libraries are imported, and try."""
    import enchannel as ec

    try:
        ec.connect(url, timeout=10.0).close()
    except ec.ConnectionFailed as error:
        if "could not connect" not in str(error):
            raise


@dataclass(frozen=True)
class Feature:
    """One use of the library.

    Attributes:
        use: Uses it; its argument is an empty directory.
        requires: The extras that it requires; an error names the first that is not installed.
    """

    use: Callable[[Path], None]
    requires: tuple[str, ...] = ()


FEATURES = (
    Feature(connect_in_memory),
    Feature(launch_kernelspec, ("launch",)),
    Feature(list_kernelspecs, ("launch",)),
    Feature(launch_python, ("kernel",)),
    Feature(connect_to_server, ("websocket",)),
    Feature(connect_to_relay, ("socketio",)),
    Feature(run_relay, ("relay",)),
    Feature(open_redis_store, ("relay", "redis")),
    Feature(save_notebook, ("notebook",)),
    Feature(import_suite, ("testing",)),
)

# The extras whose features work where the extra is installed.
INCLUDED: dict[str, frozenset[str]] = {
    "none": frozenset(),
    "launch": frozenset({"launch"}),
    "kernel": frozenset({"launch", "kernel"}),
    "websocket": frozenset({"websocket"}),
    "socketio": frozenset({"socketio"}),
    "relay": frozenset({"socketio", "relay"}),
    "redis": frozenset({"socketio", "relay", "redis"}),
    "notebook": frozenset({"notebook"}),
    "testing": frozenset({"testing"}),
}
INCLUDED["all"] = frozenset().union(*INCLUDED.values())


# -- the check ----------------------------------------------------------------------------------------


def check(extra: str) -> list[str]:
    """Return the failures of the features that the extra includes or lacks."""
    wrong = []
    for feature in FEATURES:
        missing = [name for name in feature.requires if name not in INCLUDED[extra]]
        expected = missing[0] if missing else None
        found = use(feature)
        if found != expected:
            wrong.append(
                f"{feature.use.__name__} with the extra {extra!r}: expected {expected}, got {found}"
            )
    return wrong


def use(feature: Feature) -> str | None:
    """Use a feature; return the extra that its error names, or None if it works."""
    from enchannel import errors

    with tempfile.TemporaryDirectory() as directory:
        try:
            feature.use(Path(directory))
        except errors.MissingDependency as error:
            return named_extra(feature, error)
        except errors.LaunchFailed as error:
            if "no kernelspec 'python3'" not in str(error):
                raise
            return named_extra(feature, error)
    return None


def named_extra(feature: Feature, error: ec.EnchannelError) -> str:
    named = [name for name in feature.requires if f'"enchannel[{name}]"' in str(error)]
    return named[0] if len(named) == 1 and "pip install" in str(error) else str(error)


def hide(modules: Sequence[str]) -> None:
    """Make modules look as if they were not installed, and the kernelspecs of this environment as well."""

    class HidingFinder(PathFinder):
        @classmethod
        def find_spec(
            cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
        ) -> ModuleSpec | None:
            if fullname.partition(".")[0] in modules:
                return None
            return PathFinder.find_spec(fullname, path, target)

    sys.meta_path[:] = [HidingFinder if f is PathFinder else f for f in sys.meta_path]


def environment_extra(name: str) -> str:
    """Return an extra, which may be given as the name of its environment in tox.ini."""
    return name.removeprefix("extra-")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extra", choices=INCLUDED, type=environment_extra)
    parser.add_argument("--hide", nargs="*", default=[], metavar="MODULE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as empty:
        # Kernelspecs that a user installed do not belong to the extra.
        os.environ["JUPYTER_DATA_DIR"] = empty
        if arguments.hide:
            hide(arguments.hide)
            sys.prefix = sys.exec_prefix = empty
        wrong = check(arguments.extra)
    if wrong:
        print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
