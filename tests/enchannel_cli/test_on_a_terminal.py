"""``enchannel run`` on a terminal, with a person who types, waits, and loses patience."""

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

import enchannel as ec
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.terminal.screen import ERASE_LINE
from tests.enchannel_cli.conftest import SlowKernel
from tests.enchannel_cli.terminal import CTRL_C, CTRL_D, Terminal
from tests.rigs import DEADLINE

pytestmark = pytest.mark.kernel

# Says who it is, and does not end by being interrupted. (An interrupt in a print would end it.)
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
    """It turns on a busy machine even where the kernel runs already."""
    return shown.rpartition(ERASE_LINE)[2]


def pid_of(terminal: Terminal) -> int:
    terminal.see("pid ")
    return int(terminal.see("\n"))


def test_a_spinner_turns_while_the_kernel_starts_and_leaves_no_trace(
    slow_kernel: SlowKernel,
) -> None:
    environ = {"JUPYTER_PATH": slow_kernel.jupyter_path}
    with Terminal("run", "--kernel", "slow", "6 * 7", environ=environ) as terminal:
        for frame in "⠋⠙⠹":
            terminal.see(f"\r{frame} starting slow")
        slow_kernel.let_start()
        shown, exit_code = terminal.end()
    rest = without_spinner(shown)
    assert (rest, exit_code) == ("42\r\n", 0)
    assert "\n" not in shown.removesuffix(rest)  # it stayed on the line that is erased


def test_ctrl_c_while_the_kernel_starts(slow_kernel: SlowKernel) -> None:
    environ = {"JUPYTER_PATH": slow_kernel.jupyter_path}
    with Terminal("run", "--kernel", "slow", "1", environ=environ) as terminal:
        terminal.see("starting slow")
        slow_kernel.let_start()  # so that there is a process
        kernels = psutil.Process(terminal.process.pid).children()
        terminal.press(CTRL_C)
        shown, exit_code = terminal.end()
    assert exit_code == ExitCode.INTERRUPTED
    assert "Traceback" not in shown
    assert kernels
    assert not any(kernel.is_running() for kernel in kernels)


def test_the_second_ctrl_c_ends_the_kernel_at_once() -> None:
    with Terminal("run", STUBBORN) as terminal:
        pid = pid_of(terminal)
        terminal.see("ready? ")
        terminal.press(CTRL_C)
        terminal.see("never")
        terminal.press(CTRL_C)
        shown, exit_code = terminal.end()
    assert (shown.strip(), exit_code) == ("^C", ExitCode.INTERRUPTED)
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_the_kernel_too(signum: int) -> None:
    with Terminal("run", STUBBORN) as terminal:
        pid = pid_of(terminal)
        terminal.process.send_signal(signum)
        _, exit_code = terminal.end()
    assert exit_code == 128 + signum
    assert not psutil.pid_exists(pid)


def test_a_kernel_that_dies_while_it_asks() -> None:
    with Terminal("run", "import os; print('pid', os.getpid()); input('name? ')") as terminal:
        pid = pid_of(terminal)
        terminal.see("name? ")
        os.kill(pid, signal.SIGKILL)
        shown, exit_code = terminal.end()
    assert exit_code == ExitCode.DIED
    assert shown.endswith("died by SIGKILL\r\n")


class TestInAKernelThatRuns:
    """Which it also does afterwards."""

    @pytest.fixture(autouse=True)
    def connection(self, running: ec.Kernel) -> Iterator[None]:
        self.kernel = running
        yield
        assert running.run("6 * 7", timeout=DEADLINE).text == "42"

    def run(self, *arguments: str, out: int | None = None, **environ: str) -> Terminal:
        return Terminal("run", "--connection", self.kernel.id, *arguments, environ=environ, out=out)

    def test_errors_are_in_colour(self) -> None:
        with self.run("1 / 0") as terminal:
            shown, exit_code = terminal.end()
        assert "\x1b[31mZeroDivisionError\x1b[39m: division by zero" in shown
        assert exit_code == ExitCode.RAISED

    def test_no_color_is_respected(self) -> None:
        with self.run(r"print('\x1b[31mred\x1b[0m'); 1 / 0", NO_COLOR="1") as terminal:
            shown = without_spinner(terminal.end()[0])
        assert shown.startswith("red\r\n")
        assert "ZeroDivisionError: division by zero" in shown
        assert "\x1b" not in without_spinner(shown)

    def test_escape_sequences_are_stripped_also_where_they_are_cut(self) -> None:
        code = r"""if True:
            import sys
            def say(text): sys.stdout.write(text); sys.stdout.flush()
            say('a\x1b]0;ti'); say('tle\x07b\x1b['); say('2Jc\x1b[3'); say('1md\x1b[0m\x9b'); say('2Je\n')
        """
        with self.run(code) as terminal:
            shown = without_spinner(terminal.end()[0])
        assert shown == "abc\x1b[31md\x1b[0me\r\n"

    def test_a_progress_bar_is_shown_as_it_grows(self) -> None:
        code = r"""if True:
            for part in (0, 50, 100):
                print(f'\r{part}%', end='', flush=True)
                input()
        """
        with self.run(code) as terminal:
            for part in ("\r0%", "\r50%", "\r100%"):
                terminal.see(part)
                terminal.press("\n")
            assert terminal.end()[1] == 0

    def test_input_is_asked(self) -> None:
        with self.run("print('hello', input('name? '))") as terminal:
            terminal.see("name? ")
            terminal.press("Bøb\n")
            assert terminal.end() == ("Bøb\r\nhello Bøb\r\n", 0)

    def test_what_was_printed_before_a_question_is_shown_before_it(self) -> None:
        with self.run("for i in range(3): print(i); input(f'{i}? ')") as terminal:
            for i in range(3):
                assert terminal.see(f"{i}? ").endswith(f"{i}\r\n{i}? ")
                terminal.press("\n")
            assert terminal.end()[1] == 0

    def test_a_question_is_on_the_terminal_where_stdout_is_not(self) -> None:
        read, write = os.pipe()
        with self.run("input('name? ')", out=write) as terminal, open(read) as out:
            os.close(write)
            terminal.see("name? ")
            terminal.press("Bob\n")
            terminal.end()
            assert out.read() == "'Bob'\n"

    def test_a_password_is_not_shown(self) -> None:
        code = "from getpass import getpass; len(getpass('secret? '))"
        with self.run(code) as terminal:
            terminal.see("secret? ")
            terminal.press("hunter2\n")
            assert terminal.end() == ("\r\n7\r\n", 0)

    def test_ctrl_d_is_the_end_of_input(self) -> None:
        code = "try: input('name? ')\nexcept EOFError: print('nobody')"
        with self.run(code) as terminal:
            terminal.see("name? ")
            terminal.press(CTRL_D)
            shown, exit_code = terminal.end()
        assert (shown.strip(), exit_code) == ("nobody", 0)

    def test_ctrl_c_interrupts_the_code(self) -> None:
        with self.run("print('go', flush=True)\nwhile True: pass") as terminal:
            terminal.see("go")
            terminal.press(CTRL_C)
            shown, exit_code = terminal.end()
        assert "KeyboardInterrupt" in shown
        assert exit_code == ExitCode.RAISED

    def test_ctrl_c_interrupts_a_question(self) -> None:
        code = "try: input('name? ')\nexcept KeyboardInterrupt: print('then not')"
        with self.run(code) as terminal:
            terminal.see("name? ")
            terminal.press(CTRL_C)
            assert terminal.end() == ("^Cthen not\r\n", 0)

    def test_the_terminal_echoes_again_after_ctrl_c_at_a_password(self) -> None:
        code = """if True:
            from getpass import getpass
            try: getpass('secret? ')
            except KeyboardInterrupt: print(input('why? '))
        """
        with self.run(code) as terminal:
            terminal.see("secret? ")
            terminal.press(CTRL_C)
            terminal.see("why? ")
            terminal.press("because\n")
            assert terminal.end() == ("because\r\nbecause\r\n", 0)

    def test_ctrl_c_stops_a_flood(self) -> None:
        with self.run("while True: print('x' * 70)") as terminal:
            terminal.see("xxx")
            terminal.press(CTRL_C)
            shown, exit_code = terminal.end()
        assert "KeyboardInterrupt" in shown
        assert exit_code == ExitCode.RAISED

    def test_the_second_ctrl_c_leaves_the_kernel_and_interrupts_it_again(self) -> None:
        code = """if True:
            import threading
            try:
                input('ready? ')
            except KeyboardInterrupt:
                print('never', flush=True)
                threading.Event().wait()
        """
        with self.run(code) as terminal:
            terminal.see("ready? ")
            terminal.press(CTRL_C)
            terminal.see("never")
            terminal.press(CTRL_C)
            assert terminal.end()[1] == ExitCode.INTERRUPTED

    def test_the_time_is_up_while_a_person_thinks(self) -> None:
        with self.run("--timeout", "1", "input('name? ')") as terminal:
            shown, exit_code = terminal.end()
        assert "name? " in shown
        assert "KeyboardInterrupt" in shown
        assert exit_code == ExitCode.TIMED_OUT


def test_json_on_a_terminal_is_no_escape_sequence(running: ec.Kernel) -> None:
    arguments = ("run", "--connection", running.id, "--json", r"print('\x1b[2J\x9b2J')")
    with Terminal(*arguments) as terminal:
        shown, exit_code = terminal.end()
    assert exit_code == 0
    assert r"\u001b[2J\u009b2J" in shown
    assert "\x1b" not in without_spinner(shown)
