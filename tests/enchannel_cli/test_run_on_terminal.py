"""``enchannel run`` on a terminal: colours, input, Ctrl-C and other signals."""

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

import enchannel as ec
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.terminal.screen import ERASE_LINE
from tests.enchannel_cli.conftest import SlowKernel
from tests.enchannel_cli.terminal import CODE_THAT_SURVIVES_CTRL_C, CTRL_C, CTRL_D, Terminal
from tests.rigs import DEADLINE

pytestmark = pytest.mark.kernel

# Prints its process id, and ignores interrupts, except during a print.
STUBBORN = """if True:
    import os, signal, threading
    print('pid', os.getpid())
    try:
        input('ready? ')
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print('never', flush=True)
        threading.Event().wait()
"""


def without_spinner(shown: str) -> str:
    """Remove the spinner, which a busy machine shows even while connecting."""
    return shown.rpartition(ERASE_LINE)[2]


def pid_of(terminal: Terminal) -> int:
    terminal.wait_for("pid ")
    return int(terminal.wait_for("\n"))


def test_spinner_leaves_no_trace(
    slow_kernel: SlowKernel,
) -> None:
    environ = {"JUPYTER_PATH": slow_kernel.jupyter_path}
    with Terminal("run", "--kernel", "slow", "6 * 7", environ=environ) as terminal:
        for frame in "⠋⠙⠹":
            terminal.wait_for(f"\r{frame} starting slow")
        slow_kernel.let_start()
        shown, exit_code = terminal.wait()
    rest = without_spinner(shown)
    assert (rest, exit_code) == ("42\r\n", 0)
    assert "\n" not in shown.removesuffix(rest)


def test_ctrl_c_while_kernel_starts(slow_kernel: SlowKernel) -> None:
    environ = {"JUPYTER_PATH": slow_kernel.jupyter_path}
    with Terminal("run", "--kernel", "slow", "1", environ=environ) as terminal:
        terminal.wait_for("starting slow")
        slow_kernel.let_start()  # waits for its process
        kernels = psutil.Process(terminal.process.pid).children()
        terminal.press(CTRL_C)
        shown, exit_code = terminal.wait()
    assert exit_code == ExitCode.INTERRUPTED
    assert "Traceback" not in shown
    assert kernels
    assert not any(kernel.is_running() for kernel in kernels)


def test_second_ctrl_c_kills_kernel() -> None:
    with Terminal("run", STUBBORN) as terminal:
        pid = pid_of(terminal)
        terminal.press_ctrl_c_twice()
        shown, exit_code = terminal.wait()
    assert (shown.strip(), exit_code) == ("^C", ExitCode.INTERRUPTED)
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signal_kills_kernel(name: str) -> None:
    signum: int = getattr(signal, name)
    with Terminal("run", STUBBORN) as terminal:
        pid = pid_of(terminal)
        terminal.process.send_signal(signum)
        _, exit_code = terminal.wait()
    assert exit_code == 128 + signum
    assert not psutil.pid_exists(pid)


def test_dying_kernel_cancels_input() -> None:
    with Terminal("run", "import os; print('pid', os.getpid()); input('name? ')") as terminal:
        pid = pid_of(terminal)
        terminal.wait_for("name? ")
        psutil.Process(pid).kill()
        shown, exit_code = terminal.wait()
    assert exit_code == ExitCode.DIED
    assert shown.endswith("died by SIGKILL\r\n")


class TestRunningKernel:
    """The kernel is left running."""

    @pytest.fixture(autouse=True)
    def connection(self, running: ec.Kernel) -> Iterator[None]:
        self.kernel = running
        yield
        assert running.run("6 * 7", timeout=DEADLINE).text == "42"

    def run(self, *arguments: str, out: int | None = None, **environ: str) -> Terminal:
        return Terminal("run", "--existing", self.kernel.id, *arguments, environ=environ, out=out)

    def test_traceback_has_colours(self) -> None:
        with self.run("1 / 0") as terminal:
            shown, exit_code = terminal.wait()
        assert "\x1b[31mZeroDivisionError\x1b[39m: division by zero" in shown
        assert exit_code == ExitCode.RAISED

    def test_no_color_removes_colours(self) -> None:
        with self.run(r"print('\x1b[31mred\x1b[0m'); 1 / 0", NO_COLOR="1") as terminal:
            shown = without_spinner(terminal.wait()[0])
        assert shown.startswith("red\r\n")
        assert "ZeroDivisionError: division by zero" in shown
        assert "\x1b" not in without_spinner(shown)

    def test_cut_escape_sequences_are_removed(self) -> None:
        code = r"""if True:
            import sys
            def say(text): sys.stdout.write(text); sys.stdout.flush()
            say('a\x1b]0;ti'); say('tle\x07b\x1b['); say('2Jc\x1b[3'); say('1md\x1b[0m\x9b'); say('2Je\n')
        """
        with self.run(code) as terminal:
            shown = without_spinner(terminal.wait()[0])
        assert shown == "abc\x1b[31md\x1b[0me\r\n"

    def test_unfinished_line_is_shown(self) -> None:
        code = r"""if True:
            for part in (0, 50, 100):
                print(f'\r{part}%', end='', flush=True)
                input()
        """
        with self.run(code) as terminal:
            for part in ("\r0%", "\r50%", "\r100%"):
                terminal.wait_for(part)
                terminal.press("\n")
            assert terminal.wait()[1] == 0

    def test_input_reads_terminal(self) -> None:
        with self.run("print('hello', input('name? '))") as terminal:
            terminal.wait_for("name? ")
            terminal.press("Bøb\n")
            assert terminal.wait() == ("Bøb\r\nhello Bøb\r\n", 0)

    def test_prompt_follows_earlier_output(self) -> None:
        with self.run("for i in range(3): print(i); input(f'{i}? ')") as terminal:
            for i in range(3):
                assert terminal.wait_for(f"{i}? ").endswith(f"{i}\r\n{i}? ")
                terminal.press("\n")
            assert terminal.wait()[1] == 0

    def test_prompt_is_visible_if_stdout_is_a_pipe(self) -> None:
        read, write = os.pipe()
        with self.run("input('name? ')", out=write) as terminal, open(read) as out:
            os.close(write)
            terminal.wait_for("name? ")
            terminal.press("Bob\n")
            terminal.wait()
            assert out.read() == "'Bob'\n"

    def test_password_is_not_echoed(self) -> None:
        code = "from getpass import getpass; len(getpass('secret? '))"
        with self.run(code) as terminal:
            terminal.wait_for("secret? ")
            terminal.press("hunter2\n")
            assert terminal.wait() == ("\r\n7\r\n", 0)

    def test_ctrl_d_ends_input(self) -> None:
        code = "try: input('name? ')\nexcept EOFError: print('nobody')"
        with self.run(code) as terminal:
            terminal.wait_for("name? ")
            terminal.press(CTRL_D)
            shown, exit_code = terminal.wait()
        assert (shown.strip(), exit_code) == ("nobody", 0)

    def test_ctrl_c_interrupts_code(self) -> None:
        with self.run("print('go', flush=True)\nwhile True: pass") as terminal:
            terminal.wait_for("go")
            terminal.press(CTRL_C)
            shown, exit_code = terminal.wait()
        assert "KeyboardInterrupt" in shown
        assert exit_code == ExitCode.RAISED

    def test_ctrl_c_interrupts_input(self) -> None:
        code = "try: input('name? ')\nexcept KeyboardInterrupt: print('then not')"
        with self.run(code) as terminal:
            terminal.wait_for("name? ")
            terminal.press(CTRL_C)
            assert terminal.wait() == ("^Cthen not\r\n", 0)

    def test_terminal_echoes_after_ctrl_c_at_password(self) -> None:
        code = """if True:
            from getpass import getpass
            try: getpass('secret? ')
            except KeyboardInterrupt: print(input('why? '))
        """
        with self.run(code) as terminal:
            terminal.wait_for("secret? ")
            terminal.press(CTRL_C)
            terminal.wait_for("why? ")
            terminal.press("because\n")
            assert terminal.wait() == ("because\r\nbecause\r\n", 0)

    def test_ctrl_c_stops_endless_output(self) -> None:
        with self.run("while True: print('x' * 70)") as terminal:
            terminal.wait_for("xxx")
            terminal.press(CTRL_C)
            shown, exit_code = terminal.wait()
        assert "KeyboardInterrupt" in shown
        assert exit_code == ExitCode.RAISED

    def test_second_ctrl_c_interrupts_and_disconnects(self) -> None:
        with self.run(CODE_THAT_SURVIVES_CTRL_C) as terminal:
            terminal.press_ctrl_c_twice()
            assert terminal.wait()[1] == ExitCode.INTERRUPTED

    def test_timeout_cancels_input(self) -> None:
        with self.run("--timeout", "1", "input('name? ')") as terminal:
            shown, exit_code = terminal.wait()
        assert "name? " in shown
        assert "KeyboardInterrupt" in shown
        assert exit_code == ExitCode.TIMED_OUT


def test_json_has_no_escape_sequences(running: ec.Kernel) -> None:
    arguments = ("run", "--existing", running.id, "--json", r"print('\x1b[2J\x9b2J')")
    with Terminal(*arguments) as terminal:
        shown, exit_code = terminal.wait()
    assert exit_code == 0
    assert r"\u001b[2J\u009b2J" in shown
    assert "\x1b" not in without_spinner(shown)
