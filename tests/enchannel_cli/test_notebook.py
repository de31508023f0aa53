"""``enchannel run`` with a notebook: progress, saved files, exit codes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

import commutable as cm
import enchannel as ec
from enchannel._cli.exit_code import ExitCode
from tests.enchannel_cli.command import COMMAND, enchannel, refused
from tests.enchannel_cli.terminal import CTRL_C, Terminal
from tests.rigs import ASLEEP, DEADLINE
from tests.rigs.idle import LOST_IDLE

pytestmark = pytest.mark.kernel


def notebook_of(*sources: str, **tags: str) -> cm.Notebook:
    """Make a notebook of code cells c1, c2, …; keyword arguments give a cell a tag."""
    notebook = cm.empty_notebook
    for number, source in enumerate(sources, 1):
        id = f"c{number}"
        metadata = {"tags": [tags[id]]} if id in tags else {}
        notebook = cm.append_cell(notebook, cm.code_cell(source, id=id, metadata=metadata))
    return notebook


def outputs(path: Path) -> list[str]:
    """Return the outputs of each cell of a file, as text."""
    cells = cm.load(path).cells
    return [cell.outputs.text for cell in cells if isinstance(cell, cm.CodeCell)]


def counts(path: Path) -> list[int | None]:
    return [cell.execution_count for cell in cm.load(path).cells if isinstance(cell, cm.CodeCell)]


class Files:
    """A notebook, and the file to which it is saved."""

    def __init__(self, directory: Path) -> None:
        self.given = directory / "given.ipynb"
        self.done = directory / "done.ipynb"

    def has(self, *sources: str, **tags: str) -> cm.Notebook:
        notebook = notebook_of(*sources, **tags)
        cm.save(notebook, self.given)
        return notebook

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return enchannel(*self.command(*arguments), stdin=stdin)

    def command(self, *arguments: str) -> Sequence[str]:
        return ("run", str(self.given), "--output", str(self.done), *arguments)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_notebook_runs_in_its_directory(files: Files) -> None:
    files.has("import os; print(os.getcwd())", "6 * 7")
    ended = files.run()
    assert (ended.stdout, ended.returncode) == ("", ExitCode.OK)
    assert outputs(files.done) == [f"{files.given.parent}\n", "42"]
    assert counts(files.done) == [1, 2]
    assert ended.stderr.startswith("enchannel: cell 1 of 2: ")
    assert ended.stderr.endswith(" s, 42\n")
    language: Any = cm.load(files.done).metadata["language_info"]
    assert language["name"] == "python"


# The kernel sends the output when it receives the next request.
LATE = """
kernel = get_ipython().kernel
cell, handlers = kernel.get_parent(), kernel.shell_handlers
known = handlers["kernel_info_request"]
async def answer(*arguments):
    late = {"name": "stdout", "text": "late\\n"}
    kernel.session.send(kernel.iopub_socket, "stream", late, parent=cell)
    await known(*arguments)
handlers["kernel_info_request"] = answer
print("in time")
"""


@pytest.mark.parametrize("saved", [False, True])
def test_late_output_of_last_cell_is_kept(files: Files, saved: bool) -> None:
    files.has(LATE)
    ended = files.run() if saved else enchannel("run", str(files.given))
    assert ended.returncode == ExitCode.OK
    assert ended.stdout == ("" if saved else "in time\nlate\n")
    assert outputs(files.done) == ["in time\nlate\n"] if saved else not files.done.exists()


class TestRunningKernel:
    """The kernel is left running."""

    @pytest.fixture(autouse=True)
    def connection(self, running: ec.Kernel, files: Files) -> Iterator[None]:
        self.kernel, self.files = running, files
        yield
        assert running.run("6 * 7", timeout=DEADLINE).text == "42"

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self.files.run("--existing", self.kernel.id, *arguments, stdin=stdin)

    def test_notebook_stops_at_first_error(self) -> None:
        self.files.has("print('a')", "1 / 0", "print('never')")
        ended = self.run()
        assert ended.returncode == ExitCode.RAISED
        assert "Traceback (most recent call last)" in ended.stderr
        assert ended.stderr.endswith("cell 2 of 3 (c2): ZeroDivisionError: division by zero\n")
        first, second, third = outputs(self.files.done)
        assert (first, third) == ("a\n", "")
        assert second.endswith("ZeroDivisionError: division by zero")

    def test_lost_output_has_own_exit_code(self) -> None:
        self.files.has(LOST_IDLE, "print('never')")
        ended = self.run()
        assert ended.returncode == ExitCode.OUTPUT_MISSING
        assert "output may be missing" in ended.stderr
        assert outputs(self.files.done) == ["in time\n", ""]

    def test_allow_errors_continues(self) -> None:
        self.files.has("1 / 0", "print('after')")
        ended = self.run("--allow-errors")
        assert ended.returncode == ExitCode.OK
        assert "cell 1 of 2: raised, " in ended.stderr
        assert outputs(self.files.done)[1] == "after\n"

    def test_tags_allow_error_and_skip_cell(self) -> None:
        self.files.has("1 / 0", "print('x')", "2", c1="raises-exception", c2="skip-execution")
        assert self.run().returncode == ExitCode.OK
        assert outputs(self.files.done)[1:] == ["", "2"]

    def test_outputs_of_earlier_run_are_cleared(self) -> None:
        notebook = self.files.has("1 / 0", "print('never')")
        cm.save(cm.update_outputs(notebook, "c2", [OLD]), self.files.given)
        self.run()
        assert outputs(self.files.done)[1] == ""
        assert outputs(self.files.given)[1] == "old"

    def test_notebook_is_saved_in_place(self) -> None:
        self.files.has("6 * 7")
        self.files.done = self.files.given
        assert self.run().returncode == ExitCode.OK
        assert outputs(self.files.given) == ["42"]

    def test_outputs_are_printed_without_output_file(self) -> None:
        self.files.has("import sys; print('out'); print('err', file=sys.stderr)", "6 * 7", "1 / 0")
        ended = enchannel("run", str(self.files.given), "--existing", self.kernel.id)
        assert (ended.stdout, ended.returncode) == ("out\n42\n", ExitCode.RAISED)
        assert "err\n" in ended.stderr
        assert ended.stderr.count("Traceback (most recent call last)") == 1

    def test_late_output_of_thread_is_printed(self) -> None:
        thread = (
            "import threading, time; go = threading.Event()\n"
            "thread = threading.Thread(target=lambda: (go.wait(), print('late', flush=True)))\n"
            "thread.start(); print('in time')"
        )
        self.files.has(thread, "go.set(); thread.join(); print('next')")
        ended = enchannel("run", str(self.files.given), "--existing", self.kernel.id)
        assert sorted(ended.stdout.split("\n")) == ["", "in time", "late", "next"]

    def test_parameters_override_defaults(self) -> None:
        self.files.has("n, city = 1, 'here'", "print(n, city, more)", c1="parameters")
        (self.files.given.parent / "p.json").write_text('{"more": [1, null], "n": 0}')
        more = ("--parameters", str(self.files.given.parent / "p.json"))
        assert self.run("-p", "n", "5", "-p", "city", "Lima", *more).returncode == ExitCode.OK
        assert outputs(self.files.done)[2] == "5 Lima [1, None]\n"

    def test_parameters_follow_papermill(self) -> None:
        values = {
            "False": "False",
            "True": "True",
            "None": "None",
            "007": "7",
            "+3": "3",
            "NaN": "nan",
            " -inf": "-inf",
            "1e3": "1000.0",
            "1.50": "1.5",
            "Lima": "'Lima'",
            "": "''",
            '"5"': "'5'",
            "[1, null]": "[1, None]",
            "true": "True",
        }
        names = [f"x{number}" for number in range(len(values))]
        self.files.has(f"print(*map(repr, [{', '.join(names)}]), sep='|')")
        options = [part for pair in zip(names, values, strict=True) for part in ("-p", *pair)]
        assert self.run(*options).returncode == ExitCode.OK
        assert outputs(self.files.done)[1] == "|".join(values.values()) + "\n"

    def test_parameter_file_may_have_byte_order_mark(self) -> None:
        self.files.has("print(n)")
        file = self.files.given.parent / "p.json"
        file.write_bytes(b'\xef\xbb\xbf{"n": 5}')
        assert self.run("--parameters", str(file)).returncode == ExitCode.OK
        assert outputs(self.files.done)[1] == "5\n"

    def test_input_reads_stdin(self) -> None:
        self.files.has("print('hello', input('who? '))")
        ended = self.run(stdin="Ada\n")
        assert (ended.stdout, ended.returncode) == ("who? ", ExitCode.OK)
        assert outputs(self.files.done) == ["hello Ada\n"]

    def test_input_raises_at_end_of_stdin(self) -> None:
        self.files.has("input()")
        assert self.run().returncode == ExitCode.RAISED
        assert "EOFError" in outputs(self.files.done)[0]

    def test_timeout_applies_to_each_cell(self) -> None:
        self.files.has("print('a')", ASLEEP, "print('never')")
        ended = self.run("--timeout", "1")
        assert ended.returncode == ExitCode.TIMED_OUT
        assert "cell 2 of 3 (c2): the code did not finish within 1 s" in ended.stderr
        first, second, third = outputs(self.files.done)
        assert (first, third) == ("a\n", "")
        assert second.startswith("asleep\n")
        assert second.endswith("KeyboardInterrupt: ")

    def test_resume_skips_finished_cells(self) -> None:
        self.files.has("print('once'); x = 6", "1 / 0", "print(x)")
        self.run()
        self.files.has("print('once'); x = 6", "x += 1", "print(x)")
        ended = self.run("--resume")
        assert ended.returncode == ExitCode.OK
        assert "resuming at cell 2 of 3\n" in ended.stderr
        assert outputs(self.files.done) == ["once\n", "", "7\n"]
        assert "nothing to run" in self.run("--resume").stderr

    def test_resume_runs_edited_cell_and_the_rest(self) -> None:
        self.files.has("print('a')", "print('b')", "print('c')")
        self.run()
        before = counts(self.files.done)
        self.files.has("print('a')", "print('B')", "print('c')")
        self.run("--resume")
        assert outputs(self.files.done) == ["a\n", "B\n", "c\n"]
        assert [old == new for old, new in zip(before, counts(self.files.done), strict=True)] == [
            True,
            False,
            False,
        ]

    def test_resume_without_output_runs_all(self) -> None:
        self.files.has("print('a')")
        assert self.run("--resume").returncode == ExitCode.OK
        assert outputs(self.files.done) == ["a\n"]

    def test_large_output_is_complete(self) -> None:
        self.files.has("for i in range(20_000): print(i, flush=not i % 100)")
        assert self.run().returncode == ExitCode.OK
        assert outputs(self.files.done) == ["".join(f"{i}\n" for i in range(20_000))]


OLD = {"output_type": "stream", "name": "stdout", "text": "old"}


def test_ctrl_c_leaves_code_of_other_client(files: Files) -> None:
    files.has("print('never')")
    begun = Event()
    with ec.launch() as kernel:
        busy = kernel.execute(ASLEEP)
        busy.pipe(ec.outputs()).subscribe(lambda _: begun.set())
        assert begun.wait(DEADLINE)
        with Terminal(*files.command("--existing", kernel.id)) as terminal:
            terminal.wait_for("cell 1 of 1")
            terminal.press(CTRL_C)
            _, exit_code = terminal.wait()
        assert exit_code == ExitCode.INTERRUPTED
        assert kernel.state.value is ec.KernelState.BUSY


def test_ctrl_c_stops_notebook(files: Files) -> None:
    """An interrupt is an error, and ends the run even if errors are allowed."""
    files.has("print('a')", ASLEEP, "print('never')")
    with Terminal(*files.command("--allow-errors")) as terminal:
        terminal.wait_for("asleep")
        terminal.press(CTRL_C)
        shown, exit_code = terminal.wait()
    assert exit_code == ExitCode.RAISED
    assert "✗" in shown
    assert outputs(files.done)[2] == ""
    assert "KeyboardInterrupt" in outputs(files.done)[1]


def test_dying_kernel_leaves_saved_cells(files: Files) -> None:
    files.has("print('a')", "import os; os._exit(7)", "print('never')")
    ended = files.run()
    assert ended.returncode == ExitCode.DIED
    assert "cell 2 of 3 (c2): " in ended.stderr
    assert "7" in ended.stderr
    assert outputs(files.done) == ["a\n", "", ""]


def test_killed_command_leaves_saved_cells(files: Files) -> None:
    files.has("print('a')", "import os; os.kill(os.getppid(), 9); input()")
    process = subprocess.run(
        [*COMMAND, *files.command()], capture_output=True, timeout=DEADLINE, check=False
    )
    assert process.returncode == -9
    assert outputs(files.done) == ["a\n", ""]


def test_kernel_is_named_by_notebook(files: Files) -> None:
    notebook = files.has("1")
    spec = {"kernelspec": {"name": "no-such-kernel", "display_name": "none"}}
    cm.save(cm.set_metadata(notebook, spec), files.given)
    ended = files.run()
    assert ended.returncode == ExitCode.NOT_CONNECTED
    assert "no-such-kernel" in ended.stderr
    assert files.run("--kernel", "python3").returncode == ExitCode.OK


@pytest.mark.parametrize("text", ["no notebook", "[]", '{"nbformat": 5}', "{}"])
def test_invalid_notebook_is_refused(files: Files, text: str) -> None:
    files.given.write_text(text)
    ended = refused(*files.command())
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert ended.stderr.startswith(f"enchannel: {files.given}")
    assert "Traceback" not in ended.stderr
    assert not files.done.exists()


def test_unsendable_cell_ends_notebook(files: Files) -> None:
    files.has("print('a')", "print('\ud800')", "print('never')")
    ended = files.run()
    assert ended.returncode == ExitCode.USAGE
    assert "lone surrogate" in ended.stderr
    assert outputs(files.done) == ["a\n", "", ""]


@pytest.mark.parametrize("code", ["sys.exit()", "sys.exit(0)", "sys.exit(None)"])
def test_successful_exit_ends_notebook(code: str, files: Files) -> None:
    files.has("import sys", code, "print('never')")
    assert files.run().returncode == ExitCode.OK
    assert "SystemExit" in outputs(files.done)[1]
    assert counts(files.done) == [1, 2, None]


def test_exit_code_of_cell_is_an_error(files: Files) -> None:
    files.has("import sys; sys.exit(2)")
    assert files.run().returncode == ExitCode.RAISED


def test_notebook_leaves_no_history(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    files.has("get_ipython().history_manager.hist_file")
    assert files.run().returncode == ExitCode.OK
    assert outputs(files.done) == ["':memory:'"]
    ended = enchannel("run", "get_ipython().history_manager.hist_file")
    assert ended.stdout == "':memory:'\n"
    assert list(tmp_path.rglob("history*")) == []


def test_odd_notebook_is_repaired_or_refused(files: Files) -> None:
    js = cm.to_dict(notebook_of("6 * 7"))
    js["metadata"] = {"kernelspec": {"display_name": "Python"}}
    files.given.write_text(json.dumps(js), encoding="utf-8-sig")
    ended = files.run()
    assert ended.returncode == ExitCode.OK
    assert "warning: the notebook was repaired: metadata.kernelspec had no name" in ended.stderr
    assert outputs(files.done) == ["42"]
    ended = files.run("--strict")
    assert ended.returncode == ExitCode.USAGE
    assert "invalid notebook at metadata.kernelspec: 'name' is a required property" in ended.stderr


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
@pytest.mark.parametrize("fails", [False, True])
def test_notebook_is_written_to_stdout(name: str, fails: bool, files: Files) -> None:
    if name != "-" and sys.platform == "win32":
        pytest.skip("POSIX only")
    files.has("print('a')", "input('prompt ')", *(["1 / 0"] if fails else []))
    ended = enchannel("run", str(files.given), "-o", name, stdin="typed\n")
    assert ended.returncode == (ExitCode.RAISED if fails else ExitCode.OK)
    files.done.write_text(ended.stdout)
    assert outputs(files.done)[:2] == ["a\n", "'typed'"]
    assert not Path("-").exists()


def test_notebook_is_written_to_pipe_once(files: Files, tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("POSIX only")
    files.has("print('a')", "print('b')")
    files.done = tmp_path / "pipe"
    os.mkfifo(files.done)
    command = [*COMMAND, *files.command()]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        written = files.done.read_text()
        assert process.wait(DEADLINE) == ExitCode.OK
    files.given.write_text(written)
    assert outputs(files.given) == ["a\n", "b\n"]


def test_notebook_without_code_is_written_to_stdout(files: Files) -> None:
    files.has("")
    assert json.loads(enchannel("run", str(files.given), "-o", "-").stdout)["nbformat"] == 4


def test_resume_from_stdout_is_refused(files: Files) -> None:
    files.has("1")
    ended = refused("run", str(files.given), "-o", "-", "--resume")
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert "--resume requires --output with a file" in ended.stderr


def test_missing_notebook_is_reported(files: Files) -> None:
    ended = files.run()
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert ended.stderr == f"enchannel: {files.given} cannot be read: No such file or directory\n"


def test_unwritable_output_runs_nothing(files: Files) -> None:
    files.has("open('ran', 'w')")
    files.done = files.given.parent / "nowhere" / "done.ipynb"
    ended = files.run()
    assert ended.returncode == ExitCode.USAGE
    assert "cannot be written" in ended.stderr
    assert not (files.given.parent / "ran").exists()


@pytest.mark.parametrize("kind", ["directory", "socket", "protected"])
def test_unwritable_stream_runs_nothing(
    files: Files, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind != "directory" and sys.platform == "win32":
        pytest.skip("POSIX only")
    monkeypatch.chdir(tmp_path)
    files.has("open('ran', 'w')")
    files.done = Path("output")
    with closing(socket.socket(getattr(socket, "AF_UNIX", socket.AF_INET))) as listener:
        if kind == "directory":
            files.done.mkdir()
        elif kind == "socket":
            # A relative path, which is short enough for a socket.
            listener.bind(str(files.done))
        else:
            files.done = Path(os.devnull)
            # Root may write to any file.
            monkeypatch.setattr(os, "access", lambda path, mode: False)
        ended = refused(*files.command())
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert f"{files.done} cannot be written: " in ended.stderr
    assert not Path("ran").exists()


def test_full_disk_ends_notebook(files: Files) -> None:
    files.has("print('a')", "print('x' * 200_000)")
    script = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); sys.argv[0] = 'enchannel'; "
        "runpy.run_module('enchannel', run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *files.command()],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        env={**os.environ},
        check=False,
    )
    assert ended.returncode == ExitCode.RAISED
    assert f"{files.done} cannot be written: File too large" in ended.stderr
    assert outputs(files.done) == ["a\n", ""]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--resume",),
        ("--json",),
        ("-p", "no name", "1"),
        ("--parameters", "no-such-file"),
        ("--parameters", os.devnull),
    ],
)
def test_invalid_options_are_refused(files: Files, arguments: Sequence[str]) -> None:
    files.has("1")
    ended = refused("run", str(files.given), *arguments)
    assert (ended.returncode, ended.stdout) == (ExitCode.USAGE, "")
    assert ended.stderr.startswith("enchannel: ")


def test_notebook_options_need_notebook() -> None:
    ended = refused("run", "1", "--output", "x")
    assert ended.returncode == ExitCode.USAGE
    assert "--output requires a notebook" in ended.stderr


def test_terminal_shows_progress_of_cells(files: Files) -> None:
    files.has("print('first')", "name = input('who? ')", "print(f'{name}!')\n1 / 0")
    with Terminal(*files.command()) as terminal:
        terminal.wait_for("✓")
        assert "cell 1 of 3" in terminal.wait_for("first")
        terminal.wait_for("cell 2 of 3")
        terminal.wait_for("who? ")
        terminal.press("Ada\r")
        terminal.wait_for("✓")
        terminal.wait_for("✗")
        shown, exit_code = terminal.wait()
    assert exit_code == ExitCode.RAISED
    assert shown.endswith("cell 3 of 3 (c3): ZeroDivisionError: division by zero\r\n")
    assert json.loads(files.done.read_text())["cells"][2]["outputs"][0]["text"] == ["Ada!\n"]


def test_progress_has_no_escape_sequences(files: Files) -> None:
    files.has(r"print('\x1b[2J\x1b]0;title\x07seen')")
    with Terminal(*files.command()) as terminal:
        terminal.wait_for("✓")
        shown, _ = terminal.wait()
    assert "seen" in shown
    assert "\x1b[2J" not in shown
    assert "title" not in shown
