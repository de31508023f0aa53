"""Isolation of the tests: their own Jupyter directories, default signals, and no leaks."""

import gc
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import hypothesis
import psutil
import pytest

from enchannel.backends._shared_resource import leases_in_process
from tests.rigs.processes import descendants
from tests.rigs.reports import pytest_report_to_serializable

__all__ = ["pytest_report_to_serializable"]

# Other examples in each run, but the same ones in CI, where a failure must come from the change. A failing
# one is printed with a decorator that reproduces it. On a busy machine a test may be several times slower;
# the pytest timeout ends one that hangs.
hypothesis.settings.register_profile(
    "enchannel",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("enchannel")

T = TypeVar("T")
# They come first, the slowest at the top, so that no parallel worker is left with one at the end.
SLOW_FILES = (
    "enchannel_cli/test_notebook.py",
    "enchannel_zmq/test_hangs.py",
    "enchannel_websocket/test_servers.py",
    "enchannel_websocket/test_conformance.py",
    "enchannel_zmq/test_conformance.py",
    "enchannel_websocket/test_death.py",
    "enchannel_socketio/test_page.py",
    "enchannel_websocket/test_reconnecting.py",
    "enchannel_cli/test_servers.py",
    "enchannel_cli/test_relay.py",
    "enchannel_websocket/test_load.py",
    "enchannel_websocket/test_refusals.py",
    "enchannel_cli/test_run.py",
    "enchannel/testing/test_sabotage.py",
    "enchannel_zmq/test_leaks.py",
    "enchannel_socketio/test_relay.py",
    "enchannel_websocket/test_hangs.py",
    "enchannel_cli/test_recording.py",
    "enchannel_zmq/test_launching.py",
    "enchannel_zmq/test_death.py",
    "enchannel_zmq/test_lossless.py",
    "enchannel_zmq/test_intruders.py",
    "enchannel_socketio/test_redis.py",
    "enchannel_socketio/test_conformance.py",
    "enchannel_socketio/test_load.py",
)
KERNELS = Path(__file__).parents[1] / ".tox" / "kernels"
# Seconds in which threads and processes may end after their test.
LEAK_GRACE_PERIOD = 5.0
# They serve the whole process; the first test that needs one starts it.
SHARED_THREADS = {
    *("enchannel-zmq I/O", "enchannel-zmq launcher", "enchannel-websocket I/O"),
    "enchannel timer",
}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exempt the modules and test items from garbage collection: they are many, and stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    order = {tests / name: place for place, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="session", autouse=True)
def default_signals() -> Iterator[None]:
    """Give Ctrl-C and hangups their effect, also if the tests run in the background or under ``nohup``.

    There these signals are ignored, and child processes inherit that. A handler is not inherited through
    exec, so children of a process with handlers start with the default actions.
    """
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler)}
    for name in ("SIGHUP", "SIGQUIT"):
        signum: signal.Signals | None = getattr(signal, name, None)
        if signum is not None and signal.getsignal(signum) is signal.SIG_IGN:
            before[signum] = signal.signal(signum, lambda signum, frame: None)
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(scope="session", autouse=True)
def jupyter_directories() -> Iterator[None]:
    """Point Jupyter at the kernels of the tests, and at empty directories for everything else."""
    kernels = Path(os.environ.get("ENCHANNEL_TEST_KERNELS", KERNELS))
    # Not pytest's tmp_path: the path of a socket must be short.
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
    """Fail a test that leaves a thread of enchannel, a lease or a child process behind."""
    threads, children, leased = our_threads(), descendants(), leases()
    yield
    deadline = time.monotonic() + LEAK_GRACE_PERIOD
    new_leases = eventually_none(lambda: leases() - leased, deadline)
    new_threads = eventually_none(lambda: our_threads() - threads, deadline)
    new_children = eventually_none(lambda: descendants() - children, deadline)
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


def eventually_none(current: Callable[[], set[T]], deadline: float) -> set[T]:
    while (left := current()) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return left


def describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({' '.join(process.cmdline())})"
    except psutil.Error:
        return str(process.pid)
