"""Every test sees our kernels and nobody's files, and leaves no thread or process behind."""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import hypothesis
import psutil
import pytest

from enchannel.backends._shared_resource import leases_in_process

# Several times slower on a busy machine is not a failure; one that hangs meets the timeout.
hypothesis.settings.register_profile("enchannel", deadline=None)
hypothesis.settings.load_profile("enchannel")

T = TypeVar("T")
# Those that take longest come first, so that no process is left with one of them at the end.
LONG = (
    "enchannel_socketio/test_page.py",
    "enchannel_socketio/test_load.py",
    "enchannel_socketio/test_conformance.py",
    "enchannel_websocket/test_conformance.py",
    "enchannel_websocket/test_load.py",
    "enchannel_websocket/test_death.py",
    "enchannel_websocket/test_reconnecting.py",
    "enchannel_zmq/test_lossless.py",
    "enchannel_zmq/test_intruders.py",
    "enchannel_zmq/test_hangs.py",
    "enchannel_zmq/test_leaks.py",
    "enchannel_cli/test_notebook.py",
    "enchannel_cli/test_servers.py",
)
KERNELS = Path(__file__).parents[1] / ".tox" / "kernels"
LEAK_GRACE = 5.0
# These serve the whole process, and are started by whichever test comes first.
SHARED_THREADS = {
    *("enchannel-zmq I/O", "enchannel-zmq launcher", "enchannel-websocket I/O"),
    "enchannel timer",
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not str(item.path).endswith(LONG))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> Iterator[None]:
    """Have Ctrl-C raise: a shell that runs the tests in the background lets all of them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def jupyter_directories() -> Iterator[None]:
    """Point Jupyter at the rig's kernels, and away from the user's own files."""
    kernels = Path(os.environ.get("ENCHANNEL_TEST_KERNELS", KERNELS))
    # Not pytest's own tmp_path: a socket's path must stay short.
    with (
        tempfile.TemporaryDirectory(prefix="ec-", ignore_cleanup_errors=True) as home,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("JUPYTER_PATH", str(kernels / "share" / "jupyter"))
        for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(Path(home, name)))
            Path(home, name).mkdir(mode=0o700)
        yield


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread of ours or a child process behind."""
    threads, children, leased = our_threads(), our_children(), leases()
    yield
    deadline = time.monotonic() + LEAK_GRACE
    new_leases = eventually_none(lambda: leases() - leased, deadline)
    new_threads = eventually_none(lambda: our_threads() - threads, deadline)
    new_children = eventually_none(lambda: our_children() - children, deadline)
    leaked = [f"thread {thread.name!r}" for thread in new_threads]
    leaked += [f"a lease of {shared}" for shared, _ in new_leases]
    for child in new_children:
        leaked.append(f"process {describe(child)}")
        with suppress(psutil.NoSuchProcess):
            child.kill()
    assert not leaked, f"the test left behind: {', '.join(leaked)}"


def our_threads() -> set[threading.Thread]:
    return {
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("enchannel") and thread.name not in SHARED_THREADS
    }


def leases() -> set[tuple[str, int]]:
    """Return leases of shared resources that are not released: such a lease keeps a thread alive."""
    return leases_in_process()


def our_children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def eventually_none(current: Callable[[], set[T]], deadline: float) -> set[T]:
    while (left := current()) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return left


def describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({' '.join(process.cmdline())})"
    except psutil.Error:
        return str(process.pid)
