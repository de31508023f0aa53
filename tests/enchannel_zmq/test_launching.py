"""Launching kernels, and leaving nothing behind."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import enchannel as ec
import enchannel_zmq
from enchannel.backends import EventLoopThread
from enchannel.testing import Collector
from tests.rigs import DEADLINE, eventually

pytestmark = pytest.mark.kernel


def pid_of(kernel: ec.Kernel) -> int:
    return int(kernel.run("__import__('os').getpid()", timeout=DEADLINE).text)


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_launch_over_each_transport(transport: str) -> None:
    with ec.launch(transport=transport) as kernel:
        info = enchannel_zmq.read_connection_file(enchannel_zmq.find_connection_file(kernel.id))
        assert info.transport == transport
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_close_removes_everything() -> None:
    with ec.launch() as kernel:
        pid = pid_of(kernel)
        path = enchannel_zmq.find_connection_file(kernel.id)
        info = enchannel_zmq.read_connection_file(path)
        assert path.stat().st_mode & 0o077 == 0
        assert Path(info.ip).parent.stat().st_mode & 0o077 == 0
    assert not psutil.pid_exists(pid)
    assert not path.exists()
    assert not Path(info.ip).parent.exists()
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"enchannel-zmq I/O", "enchannel-zmq launcher"}


def test_launch_sets_cwd_and_env(tmp_path: Path) -> None:
    with ec.launch(cwd=tmp_path, extra_env={"OF_OURS": "there"}) as kernel:
        assert kernel.run("import os; print(os.getcwd(), os.environ['OF_OURS'])").text.split() == [
            str(tmp_path),
            "there",
        ]
        assert kernel.run("os.environ['PATH']").text.strip("'") == os.environ["PATH"]


def test_launch_in_missing_directory_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(ec.LaunchFailed, match=f"cwd='{path}' is not a directory"):
            ec.launch(cwd=path)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ec.LaunchFailed, match="the current directory cannot be used"):
        ec.launch()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"extra_env": {"A=B": "x"}}, "extra_env must have names without '='"),
        ({"extra_env": {"": "x"}}, "extra_env must have names without '='"),
        ({"extra_env": {"A\0": "x"}}, "must not have a null character"),
        ({"extra_env": {"A": "a secret\0"}}, r"extra_env\['A'\] must not have a null character"),
        ({"extra_env": {"A": "\ud800"}}, r"extra_env\['A'\] must not have a character that"),
        ({"cwd": "\0"}, "cwd must not have a null character"),
        ({"cwd": "\ud800"}, "cwd must not have a character that"),
    ],
)
def test_launch_rejects_text_that_no_process_gets(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text) as raised:
        ec.launch(**options)
    assert "secret" not in str(raised.value)


def test_extra_arguments_survive_restart() -> None:
    with ec.launch(extra_arguments=["--InteractiveShell.ast_node_interactivity=none"]) as kernel:
        assert kernel.run("1").text == ""
        ec.wait(kernel.restart(), timeout=DEADLINE)
        assert kernel.run("1", timeout=DEADLINE).text == ""


@pytest.mark.parametrize("arguments", ["--one", [1], 5, b"x"])
def test_launch_rejects_invalid_extra_arguments(arguments: Any) -> None:
    with pytest.raises(TypeError, match=r"extra_arguments must be a sequence( of strings)?, not"):
        ec.launch(extra_arguments=arguments)


HISTORY_FILE = "str(get_ipython().history_manager.hist_file)"


def test_history_is_recorded_unless_disabled(tmp_path: Path) -> None:
    own = tmp_path / "own.sqlite"
    chosen = [f"--HistoryManager.hist_file={own}"]
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, str(tmp_path / "profile_default" / "history.sqlite")),
        ({"record_history": False}, ":memory:"),
        ({"record_history": False, "extra_arguments": chosen}, str(own)),
    ]
    for options, expected in cases:
        with ec.launch(extra_env={"IPYTHONDIR": str(tmp_path)}, **options) as kernel:
            assert kernel.run(HISTORY_FILE, timeout=DEADLINE).text == repr(expected)


def test_unknown_kernelspec_lists_installed_ones() -> None:
    with pytest.raises(ec.LaunchFailed, match="no kernelspec 'pythn3'; installed: .*python3"):
        ec.launch("pythn3")


def test_failed_start_has_exit_code_and_stderr(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.exit('nothing works today')")
    with pytest.raises(ec.LaunchFailed, match="nothing works today") as raised:
        ec.launch(extra_env={"PYTHONPATH": str(tmp_path)}, timeout=DEADLINE)
    assert raised.value.exit_code not in (None, 0)
    assert "nothing works today" in raised.value.stderr


def test_launch_timeout_ends_kernel(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import threading; threading.Event().wait()")
    with pytest.raises(ec.LaunchFailed, match="no answer within"):
        ec.launch(extra_env={"PYTHONPATH": str(tmp_path)}, timeout=0.5)


def test_shutdown_ends_process() -> None:
    with ec.launch() as kernel:
        pid = pid_of(kernel)
        states = Collector(kernel.state)
        ec.wait(kernel.shutdown(), timeout=DEADLINE)
        states.wait_until(lambda states: states[-1:] == ["dead"])
        assert not psutil.pid_exists(pid)
        with pytest.raises(ec.KernelDied):
            kernel.run("1")


def test_restart_keeps_the_channels() -> None:
    with ec.launch() as kernel:
        streams = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
        kernel.run("x = 1; print('before')")
        pending = Collector(
            kernel.execute("print('pending', flush=True); import time; time.sleep(60)")
        )
        streams.wait_for(lambda message: "pending" in message.content["text"])
        ec.wait(kernel.restart(), timeout=DEADLINE)
        pending.wait_for_end()
        assert isinstance(pending.error, ec.KernelDied)
        with pytest.raises(ec.KernelError, match="'x' is not defined"):
            kernel.run("x", timeout=DEADLINE)
        kernel.run("print('after')", timeout=DEADLINE)
        streams.wait_for(lambda message: "after" in message.content["text"])


def test_detached_kernel_keeps_running() -> None:
    kernel = ec.launch(independent=True)
    pid = pid_of(kernel)
    kernel_id = kernel.id
    kernel.detach()
    assert psutil.pid_exists(pid)
    with ec.connect(kernel_id, timeout=DEADLINE) as again:
        assert not again.owned
        assert pid_of(again) == pid
        ec.wait(again.shutdown(), timeout=DEADLINE)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=DEADLINE)


LAUNCH_AND_DETACH = """if True:
    import sys
    import enchannel as ec
    import enchannel_zmq
    kernel = ec.launch(sys.argv[1], independent=sys.argv[2] == "independent")
    print(enchannel_zmq.find_connection_file(kernel.id))
    kernel.detach()
"""


def run_in_dev_mode(*arguments: str) -> str:
    """Run Python in development mode, check that it succeeds silently, and return its output."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    # asyncio logs each step that takes more than 0.1 s, which is any step on a busy machine.
    told = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, told) == (0, [])
    return done.stdout


def detach_in_other_process(kernelspec: str, kind: str) -> Path:
    """Launch and detach a kernel in a process that ends; return the path of the connection file."""
    return Path(run_in_dev_mode("-c", LAUNCH_AND_DETACH, kernelspec, kind).strip())


def test_independent_kernel_outlives_its_process() -> None:
    path = detach_in_other_process("python3", "independent")
    with ec.connect(path, timeout=DEADLINE) as kernel:
        process = psutil.Process(pid_of(kernel))
        ec.wait(kernel.shutdown(), timeout=DEADLINE)
    wait_until_ended(process)
    path.unlink(missing_ok=True)


def test_detached_kernel_leaves_no_file() -> None:
    assert not detach_in_other_process("python3", "not independent").exists()


def test_independent_kernel_has_no_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook has its own server in JPY_PARENT_PID; a kernel with a parent that is gone exits."""
    monkeypatch.setenv("JPY_PARENT_PID", "12345")
    with ec.launch(independent=True) as kernel:
        assert kernel.run("import os; os.environ.get('JPY_PARENT_PID')").text == ""


def test_detached_kernel_outlives_launcher_thread() -> None:
    kernel = ec.launch("deno")
    path, kernel_id = enchannel_zmq.find_connection_file(kernel.id), kernel.id
    kernel.detach()
    with ec.launch("deno"):
        pass
    del kernel
    gc.collect()
    with ec.connect(kernel_id, timeout=DEADLINE) as again:
        again.run("6 * 7", timeout=DEADLINE)
        # Deno ends without a reply.
        with suppress(ec.KernelDied):
            ec.wait(again.shutdown(), timeout=DEADLINE)
    assert eventually(lambda: not path.exists())


UNCLOSED_IN_CHILD = """if True:
    import multiprocessing, os, sys
    import psutil
    import enchannel as ec

    def child(kernelspec):
        kernel = ec.launch(kernelspec)
        print(*(process.pid for process in psutil.Process().children()), flush=True)
        {ending}

    if __name__ == "__main__":
        process = multiprocessing.get_context(sys.argv[1]).Process(target=child, args=("deno",))
        process.start()
        process.join()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has spawn only")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("ending", ["pass", "raise SystemExit(3)", "child.no_such_attribute"])
def test_unclosed_kernel_ends_with_multiprocessing_child(
    tmp_path: Path, method: str, ending: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(UNCLOSED_IN_CHILD.format(ending=ending)))
    done = subprocess.run(
        [sys.executable, script, method], capture_output=True, encoding="utf-8", timeout=DEADLINE
    )
    pids = done.stdout.split()
    assert pids, done.stderr
    for pid in pids:
        assert not psutil.pid_exists(int(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has parent-death signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGKILL"])
@pytest.mark.parametrize("kernelspec", ["python3", "deno"])
def test_kernel_ends_with_killed_process(kernelspec: str, name: str) -> None:
    script = (
        f"import enchannel as ec, psutil; kernel = ec.launch({kernelspec!r})\n"
        "print(psutil.Process().children()[-1].pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout is not None
        kernel = psutil.Process(int(process.stdout.readline()))
        process.send_signal(signal.Signals[name])
        process.wait(DEADLINE)
        wait_until_ended(kernel)


def wait_until_ended(process: psutil.Process) -> None:
    """Wait for the end of a process that need not be a child. It may stay a zombie."""
    assert eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_unclosed_kernel_ends_with_interpreter(tmp_path: Path) -> None:
    script = (
        "import enchannel as ec; k = ec.launch(); print(k.run('__import__(\"os\").getpid()').text)"
    )
    assert not psutil.pid_exists(int(run_in_dev_mode("-c", script)))


def test_exception_in_block_ends_kernel() -> None:
    def fail() -> None:
        with ec.launch() as kernel:
            pids.append(pid_of(kernel))
            raise ZeroDivisionError

    pids: list[int] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    (pid,) = pids
    assert not psutil.pid_exists(pid)


def test_stderr_is_logged_not_printed(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "enchannel.kernel")
    with ec.launch() as kernel:
        kernel.run("import os; os.write(2, b'to the real stderr\\n')")
    assert "to the real stderr" in caplog.text
    assert "real stderr" not in capfd.readouterr().err


def test_forked_child_of_launched_kernel_refuses() -> None:
    if sys.platform == "win32":
        pytest.skip("there is no fork on Windows")
    with ec.launch() as kernel:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                try:
                    kernel.run("1")
                except ec.ChannelClosed:
                    kernel.close()
                    code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


@pytest.mark.parametrize("command", ["1", "import time; time.sleep(60)"])
def test_close_during_restart_ends_both(command: str) -> None:
    with ec.launch() as kernel:
        pid = pid_of(kernel)
        kernel.execute(command).subscribe(on_error=lambda error: None)
        outcome = Collector(kernel.restart())
        kernel.close()
        outcome.wait_for_end()
        assert isinstance(outcome.error, ec.EnchannelError)
        assert not psutil.pid_exists(pid)


def test_restart_after_its_timeout_goes_on() -> None:
    with ec.launch() as kernel:
        kernel.run("x = 1")
        errors, states = Collector(kernel.errors), Collector(kernel.state)
        kernel.restart(timeout=0.001)
        (error,) = errors.wait_until(lambda items: items)
        assert isinstance(error, ec.RequestTimeout)
        states.wait_until(lambda items: items[-1] == "idle" and "restarting" in items)
        assert ec.wait(kernel.restart(), timeout=DEADLINE) is None
        with pytest.raises(ec.KernelError, match="'x' is not defined"):
            kernel.run("x", timeout=DEADLINE)


def test_request_during_restart_is_refused() -> None:
    with ec.launch() as kernel:
        kernel.run("x = 1")
        restarted = kernel.restart()
        with pytest.raises(ec.KernelDied, match=r"wait for the action that restart\(\) returned"):
            kernel.run("x")
        ec.wait(restarted, timeout=DEADLINE)
        with pytest.raises(ec.KernelError, match="'x' is not defined"):
            kernel.run("x", timeout=DEADLINE)


def test_closed_kernel_refuses_lifecycle_calls() -> None:
    with ec.launch() as kernel:
        pass
    for act in (kernel.interrupt, kernel.restart, kernel.shutdown):
        with pytest.raises(ec.ChannelClosed):
            act()


def test_cancelled_launch_is_cleaned_up_at_exit(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio, contextlib\n"
        "import enchannel as ec\n"
        "async def launch():\n"
        "    async with ec.launch():\n"
        "        await asyncio.Event().wait()\n"
        "async def main():\n"
        "    task = asyncio.create_task(launch())\n"
        "    await asyncio.sleep(0.1)\n"
        "    task.cancel()\n"
        "    with contextlib.suppress(asyncio.CancelledError):\n"
        "        await task\n"
        "asyncio.run(main())\n"
    )
    runtime = tmp_path / "runtime"
    subprocess.run(
        [sys.executable, "-W", "error", script],
        check=True,
        timeout=DEADLINE,
        env={**os.environ, "JUPYTER_RUNTIME_DIR": str(runtime)},
    )
    assert list(runtime.iterdir()) == []


def test_ctrl_c_during_start_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "runtime"
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run, waits = EventLoopThread.run, 0

    def interrupted(
        self: EventLoopThread, coroutine: Coroutine[Any, Any, Any], *, shielded: bool = False
    ) -> Any:
        nonlocal waits
        waits += 1
        if waits == 1:  # the start, which continues
            self.spawn(coroutine)
            raise KeyboardInterrupt
        return run(self, coroutine, shielded=shielded)

    monkeypatch.setattr(EventLoopThread, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ec.launch(timeout=DEADLINE)
    assert waits == 2
    assert [path for path in tmp_path.rglob("*") if path != runtime] == []
