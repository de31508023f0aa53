"""Kernels that die, are stopped, or disappear."""

import json
import os
import sys
import time
from pathlib import Path

import psutil
import pytest
from reactivex import operators as ops

import enchannel as ec
from enchannel.testing import Collector
from tests.rigs import DEADLINE
from tests.rigs.processes import KILL_EXIT_CODE, kill

pytestmark = pytest.mark.kernel

# ipykernel sends its output from another thread, a moment later.
SUICIDE = (
    "import os, signal, time\n"
    "print('last words', flush=True); time.sleep(0.3)\n"
    "os.kill(os.getpid(), signal.SIGKILL)"
)


def pid_of(kernel: ec.Kernel) -> int:
    return int(kernel.run("__import__('os').getpid()", timeout=DEADLINE).text)


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_sigkill_fails_all_open_requests(transport: str) -> None:
    with ec.launch(transport=transport) as kernel:
        pid = pid_of(kernel)
        requests = [Collector(kernel.execute("import time; time.sleep(60)")) for _ in range(10)]
        requests[0].wait_until(lambda messages: messages)
        kill(pid)
        for request in requests:
            request.wait_for_end()
            assert isinstance(request.error, ec.KernelDied)
            assert request.error.exit_code == KILL_EXIT_CODE
        Collector(kernel.state).wait_until(lambda states: states[-1:] == ["dead"])


def test_kernel_is_dead_when_its_request_fails(mortal: ec.Kernel) -> None:
    pid = pid_of(mortal)
    states = list[ec.KernelState]()
    execution = Collector(
        mortal.execute("import time; time.sleep(60)").pipe(
            ops.do_action(on_error=lambda _: states.append(mortal.state.value))
        )
    )
    execution.wait_for_count(1)
    kill(pid)
    execution.wait_for_error()
    assert states == [ec.KernelState.DEAD]


def test_error_of_dead_kernel_has_partial_result(mortal: ec.Kernel) -> None:
    with pytest.raises(ec.KernelDied, match="SIGKILL") as raised:
        mortal.run(SUICIDE, timeout=DEADLINE)
    assert raised.value.result is not None
    assert raised.value.result.text == "last words\n"


def test_error_of_dead_kernel_has_stderr(mortal: ec.Kernel) -> None:
    code = "import os; os.write(2, b'the end is near\\n'); os._exit(7)"
    with pytest.raises(ec.KernelDied, match="exit code 7: the end is near") as raised:
        mortal.run(code, timeout=DEADLINE)
    assert raised.value.exit_code == 7
    assert "the end is near" in raised.value.stderr


def test_dead_kernel_refuses_until_restarted(mortal: ec.Kernel) -> None:
    with pytest.raises(ec.KernelDied):
        mortal.run(SUICIDE, timeout=DEADLINE)
    with pytest.raises(ec.KernelDied):
        mortal.run("1")
    with pytest.raises(ec.KernelDied):
        mortal.shell.on_next(ec.execute_request("1"))
    ec.wait(mortal.restart(), timeout=DEADLINE)
    assert mortal.run("6 * 7", timeout=DEADLINE).text == "42"


def test_request_during_death_has_exit_code(mortal: ec.Kernel) -> None:
    kill(pid_of(mortal))
    errors: list[ec.KernelDied] = []
    while mortal.state.value != "dead":
        with pytest.raises(ec.KernelDied) as raised:
            mortal.run("1", timeout=DEADLINE)
        errors.append(raised.value)
    assert {error.exit_code for error in errors} == {KILL_EXIT_CODE}


def test_connected_client_notices_death(mortal: ec.Kernel) -> None:
    with ec.connect(mortal.id) as watcher:
        pid = pid_of(watcher)
        request = Collector(watcher.execute("import time; time.sleep(60)"))
        request.wait_until(lambda messages: messages)
        kill(pid)
        request.wait_for_end()
        assert isinstance(request.error, ec.KernelDied)
        Collector(watcher.link_state).wait_until(lambda states: "lost" in states)
        ec.wait(mortal.restart(), timeout=DEADLINE)
        Collector(watcher.link_state).wait_until(lambda states: states[-1:] == ["connected"])
        assert watcher.run("6 * 7", timeout=DEADLINE).text == "42"


def test_kernel_that_stays_away_is_given_up(mortal: ec.Kernel) -> None:
    with ec.connect(mortal.id, reconnect_timeout=0.2) as watcher:
        ends = [Collector(channel) for channel in (watcher.shell, watcher.iopub, watcher.main)]
        ec.wait(mortal.shutdown(), timeout=DEADLINE)
        for end in ends:
            end.wait_for_end()
            assert isinstance(end.error, ec.KernelDied)
        late = Collector(watcher.stdin)
        late.wait_for_end()
        assert isinstance(late.error, ec.KernelDied)
        watcher.close()


def test_stopped_kernel_is_silent_until_continued() -> None:
    with ec.launch(silent_after=0.6) as kernel:
        pid = pid_of(kernel)
        Collector(kernel.heartbeat).wait_until(lambda beats: beats)
        states = Collector(kernel.state)
        process = psutil.Process(pid)
        process.suspend()
        try:
            states.wait_until(lambda states: "silent" in states)
        finally:
            process.resume()
        states.wait_until(lambda states: states[-1:] in (["idle"], ["busy"]))
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_death_is_noticed_despite_child_process(mortal: ec.Kernel) -> None:
    code = "import os, time\nif not os.fork():\n    time.sleep(20); os._exit(0)\nprint('forked')"
    child = mortal.run("import psutil; psutil.Process().pid", timeout=DEADLINE)
    del child
    mortal.run(code, timeout=DEADLINE)
    before = time.monotonic()
    with pytest.raises(ec.KernelDied):
        mortal.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", timeout=DEADLINE)
    assert time.monotonic() - before < DEADLINE
    os.system("pkill -KILL -f ipykernel_launcher.*" + mortal.id)  # noqa: S605  # the forked child


def test_exit_in_code_is_death(mortal: ec.Kernel) -> None:
    states = Collector(mortal.state)
    mortal.run("exit()", timeout=DEADLINE)
    states.wait_until(lambda states: states[-1:] == ["dead"])


def test_shutdown_by_other_client_is_no_crash(mortal: ec.Kernel) -> None:
    errors = Collector(mortal.errors)
    with ec.connect(mortal.id, timeout=DEADLINE) as other:
        other.errors.subscribe(lambda _: None)
        ec.wait(other.shutdown(), timeout=DEADLINE)
        died = errors.wait_for(lambda error: isinstance(error, ec.KernelDied))
    assert isinstance(died, ec.KernelDied)
    assert died.exit_code == 0
    assert "ended by itself or by another client, with exit code 0" in str(died)


def test_process_that_outlives_its_sockets_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine many processes do."""
    if sys.platform == "win32":
        pytest.skip("there are no named pipes in the file system")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    lingers = f"import atexit; atexit.register(lambda: open({str(gate)!r}).read())"
    start = "from ipykernel.kernelapp import launch_new_instance as start; start()"
    spec = {
        "argv": [sys.executable, "-c", f"{lingers}; {start}", "-f", "{connection_file}"],
        "display_name": "Lingering",
        "language": "python",
    }
    path = tmp_path / "kernels" / "lingering" / "kernel.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with ec.launch("lingering") as kernel:
        errors, states = Collector(kernel.errors), Collector(kernel.state)
        kernel.run("exit()", timeout=DEADLINE)
        errors.wait_for(lambda error: "was lost, but its process is running" in str(error))
        assert kernel.state.value != "dead"
        gate.write_text("")
        states.wait_until(lambda states: states[-1:] == ["dead"])
        errors.wait_for(lambda error: isinstance(error, ec.KernelDied))
        ec.wait(kernel.restart(), timeout=DEADLINE)
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
        kernel.run("exit()", timeout=DEADLINE)
        gate.write_text("")


def test_close_during_death_logs_nothing(
    mortal: ec.Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        with ec.connect(mortal.id, timeout=DEADLINE) as watcher:
            pid = pid_of(watcher)
            request = Collector(watcher.execute("import time; time.sleep(60)"))
            request.wait_until(lambda messages: messages)
            kill(pid)
            request.wait_for_end()
            watcher.close()
            ec.wait(mortal.restart(), timeout=DEADLINE)
    assert "unexpected" not in caplog.text
