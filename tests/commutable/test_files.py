"""Saving replaces a notebook file atomically, even if it fails or is killed, or writes it in place."""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import commutable as cm
from tests.rigs import DEADLINE, eventually

ONE = cm.Notebook([cm.code_cell("one", id="a")])
TWO = cm.Notebook([cm.code_cell("two", id="a")])
POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX only")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.ipynb"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_saved_notebook_can_be_loaded(path: Path) -> None:
    cm.save(ONE, path)
    assert cm.load(path) == ONE
    cm.save(TWO, path)
    assert cm.load(path) == TWO
    assert list(path.parent.iterdir()) == [path]


def test_notebook_is_saved_to_open_file(path: Path) -> None:
    cm.save(ONE, path)
    file = io.BytesIO()
    cm.save(ONE, file)
    assert file.getvalue() == path.read_bytes()


def test_path_can_be_a_string(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cm.save(ONE, str(path))
    assert cm.load(str(path)) == ONE
    monkeypatch.chdir(path.parent)
    cm.save(TWO, "a.ipynb")
    assert cm.load("a.ipynb") == TWO


@pytest.mark.parametrize("name", ["ж.ipynb", "x" * 249 + ".ipynb", ".hidden", "no suffix"])
def test_file_name_can_be_anything(name: str, tmp_path: Path) -> None:
    for notebook in (ONE, TWO):
        cm.save(notebook, tmp_path / name)
        assert cm.load(tmp_path / name) == notebook


def test_file_name_can_be_long(tmp_path: Path) -> None:
    path = tmp_path / ("𝕏" * 62 + ".ipynb")
    cm.save(ONE, path)
    assert cm.load(path) == ONE


def test_missing_file_raises_file_not_found(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        cm.load(path)
    with pytest.raises(FileNotFoundError):
        cm.save(ONE, path / "b.ipynb")


def test_directory_as_path_raises_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path)):
        cm.load(tmp_path)
    with pytest.raises(OSError, match=str(tmp_path)):
        cm.save(ONE, tmp_path)
    assert list(tmp_path.iterdir()) == []


@POSIX
def test_new_file_permissions_follow_umask(path: Path) -> None:
    before = os.umask(0o027)
    try:
        cm.save(ONE, path)
    finally:
        os.umask(before)
    assert mode_of(path) == 0o640


@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_existing_file_keeps_permissions(mode: int, path: Path) -> None:
    cm.save(ONE, path)
    path.chmod(mode)
    cm.save(TWO, path)
    assert mode_of(path) == mode
    assert cm.load(path) == TWO


@POSIX
def test_private_file_stays_private_while_saving(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cm.save(ONE, path)
    path.chmod(0o600)
    modes: list[int] = []
    fsync = os.fsync

    def record_sync(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record_sync)
    cm.save(TWO, path)
    assert modes[0] == 0o600


@POSIX
def test_symlink_is_followed_and_kept(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    cm.save(ONE, there / "file.ipynb")
    link, other = tmp_path / "link.ipynb", tmp_path / "other.ipynb"
    link.symlink_to(Path("there", "file.ipynb"))
    other.symlink_to(link)
    cm.save(TWO, other)
    assert link.is_symlink()
    assert other.is_symlink()
    assert cm.load(there / "file.ipynb") == TWO
    assert sorted(tmp_path.iterdir()) == [link, other, there]
    assert list(there.iterdir()) == [there / "file.ipynb"]


@POSIX
def test_dangling_symlink_target_is_created(tmp_path: Path) -> None:
    link = tmp_path / "link.ipynb"
    link.symlink_to("file.ipynb")
    cm.save(ONE, link)
    assert link.is_symlink()
    assert cm.load(tmp_path / "file.ipynb") == ONE


@POSIX
def test_circular_symlinks_raise_os_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="ymbolic links"):
        cm.save(ONE, tmp_path / "a")
    assert {file.name for file in tmp_path.iterdir()} == {"a", "b"}


def test_pipe_is_written_and_not_replaced(path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("POSIX only")
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()), daemon=True)
    reader.start()
    cm.save(ONE, path)
    reader.join(DEADLINE)
    assert stat.S_ISFIFO(path.stat().st_mode)
    path.unlink()
    cm.save(ONE, path)
    assert read == [path.read_bytes()]


def test_saver_error_equals_save_error(path: Path) -> None:
    cells = [cm.code_cell(id=id) for id in "abcd"]
    wrong = cm.set_cell_metadata(cm.Notebook(cells), "c", {"tags": 5})
    with pytest.raises(cm.InvalidNotebook, match=r"at cells\[2\]\.metadata\.tags: ") as by_saver:
        cm.Saver(path).save(wrong)
    with pytest.raises(cm.InvalidNotebook) as by_save:
        cm.save(wrong, path)
    assert str(by_saver.value) == str(by_save.value)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("step", [(os, "fsync"), (Path, "replace")], ids=["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_failed_save_leaves_file_unchanged(
    step: tuple[object, str], error: BaseException, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cm.save(ONE, path)

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*step, fail)
        with pytest.raises(type(error)):
            cm.save(TWO, path)
    assert cm.load(path) == ONE
    assert list(path.parent.iterdir()) == [path]


def test_save_syncs_before_replacing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def record_sync(descriptor: int) -> None:
        fsync(descriptor)
        done.append("fsync")

    def record_replace(self: Path, target: Path) -> Path:
        done.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_replace)
    cm.save(ONE, path)
    assert done[:2] == ["fsync", "replace"]


# -- in separate processes --------------------------------------------------------------------------

# Saves two notebooks of 4 MB in turn; each has one cell that repeats one digit.
SAVER = """
import sys
import commutable as cm

def of(letter):
    return cm.Notebook([cm.raw_cell(letter * 4_000_000, id="a")])

one, two = of("1"), of("2")
cm.save(one, sys.argv[1])
print("saved", flush=True)
while True:
    cm.save(two, sys.argv[1], validate=False)
    cm.save(one, sys.argv[1], validate=False)
"""

# Forks children that do the same, and kills each when its file has reached another size: at least 25
# of them, until one was killed with its file half written.
KILLER = """
import os, signal, sys
from pathlib import Path
import commutable as cm

path = Path(sys.argv[1])
states = [cm.Notebook([cm.raw_cell(letter * 4_000_000, id="a")]) for letter in "12"]
cm.save(states[0], path)

def size():
    try:
        return max(file.stat().st_size for file in path.parent.iterdir() if file != path)
    except (FileNotFoundError, ValueError):
        return 0

parent, killed, half = os.getpid(), 0, False
while killed < 25 or not half:
    if (child := os.fork()) == 0:
        while os.getppid() == parent:
            for state in states:
                cm.save(state, path, validate=False)
        os._exit(0)
    while size() < max(killed % 25 * 160_000, 1):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    killed += 1
    (cell,) = cm.load(path, validate=False).cells
    assert cell.source in {state.cells[0].source for state in states}
    for file in path.parent.iterdir():
        if file != path:
            half |= file.stat().st_size < 4_000_000
            file.unlink()
"""

# Runs as a user without write permission for the directory.
UNPRIVILEGED = """
import os, sys
import commutable as cm

notebook = cm.load(sys.argv[1])
if os.geteuid() == 0:
    os.setuid(65534)
try:
    cm.save(cm.update_source(notebook, "a", "two"), sys.argv[1])
except PermissionError as error:
    print(error)
"""

# Limits files to 1 MB, as if the disk were full then.
FULL = """
import resource, signal, sys
import commutable as cm

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    cm.save(cm.Notebook([cm.raw_cell("2" * 4_000_000)]), sys.argv[1])
except OSError as error:
    print(error)
"""


@contextmanager
def saving(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that saves in a loop, from its first save until the end of the block."""
    argv = (sys.executable, "-c", SAVER, str(path))
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"saved\n"
            yield process
        finally:
            process.kill()
            process.wait(DEADLINE)


@pytest.mark.parametrize("size", [1, 2_000_000, 3_900_000])
def test_killed_save_leaves_complete_file(size: int, path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("POSIX only")

    def is_saving() -> bool:
        return any(larger_than(size, file) for file in path.parent.iterdir() if file != path)

    with saving(path) as process:
        assert eventually(is_saving)
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE)
        (cell,) = cm.load(path).cells
    assert cell.source in ("1" * 4_000_000, "2" * 4_000_000)
    cm.save(ONE, path)
    assert cm.load(path) == ONE


@POSIX
def test_save_killed_at_any_moment_is_atomic(path: Path) -> None:
    argv = (sys.executable, "-c", KILLER, str(path))
    subprocess.run(argv, check=True, timeout=DEADLINE)


def save_unprivileged(path: Path) -> str:
    """Save as another user, if this one is root; return the error."""
    argv = (sys.executable, "-c", UNPRIVILEGED, str(path))
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=DEADLINE).stdout


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Create a directory that other users can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
        directory.chmod(0o755)


@POSIX
@pytest.mark.parametrize("mode", [0o555, 0o1777], ids=["read-only", "sticky"])
def test_file_in_foreign_directory_is_overwritten(mode: int, open_directory: Path) -> None:
    path = open_directory / "a.ipynb"
    cm.save(ONE, path)
    path.chmod(0o666)
    before = path.stat()
    open_directory.chmod(mode)
    assert save_unprivileged(path) == ""
    assert list(open_directory.iterdir()) == [path]
    assert cm.load(path) == cm.update_source(ONE, "a", "two")
    after = path.stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)


@POSIX
@pytest.mark.parametrize("mode", [0o444, 0o555])
def test_write_protected_file_is_refused(mode: int, open_directory: Path) -> None:
    path = open_directory / "a.ipynb"
    cm.save(ONE, path)
    path.chmod(mode)
    open_directory.chmod(0o777)
    assert os.strerror(errno.EACCES) in save_unprivileged(path)
    assert list(open_directory.iterdir()) == [path]
    assert cm.load(path) == ONE
    assert mode_of(path) == mode


def test_file_of_other_user_keeps_owner(path: Path) -> None:
    if sys.platform == "win32" or os.geteuid() != 0:
        pytest.skip("only root can change the owner of a file")
    cm.save(ONE, path)
    os.chown(path, 65534, 65533)
    path.chmod(0o4640)
    cm.save(TWO, path)
    status = path.stat()
    assert (status.st_uid, status.st_gid, mode_of(path)) == (65534, 65533, 0o4640)
    assert cm.load(path) == TWO


# A mount point that the other namespaces do not see.
MOUNT = 'mount --bind "$1" "$2" && exec "$3" -c "$4" "$2"'


# Saves to a file that is a mount point in a namespace of this process only.
MOUNTED = """
unshare -rm sh -c 'mount --bind "$1" "$2" && exec "$3" -c "
import sys
import commutable as cm
cm.save(cm.Notebook([cm.code_cell(\\"two\\", id=\\"a\\")]), sys.argv[1])
" "$2"' sh "$1" "$2" "$3"
"""


@POSIX
def test_mounted_file_is_overwritten(tmp_path: Path) -> None:
    outside, path = tmp_path / "outside.ipynb", tmp_path / "a.ipynb"
    cm.save(cm.Notebook([cm.code_cell("x" * 100_000, id="a")]), outside)
    cm.save(ONE, path)
    if subprocess.run(
        ["/bin/sh", "-c", "unshare -rm true"], check=False, timeout=DEADLINE
    ).returncode:
        pytest.skip("mounting is not allowed here")
    argv = ("/bin/sh", "-c", MOUNTED, "sh", str(outside), str(path), sys.executable)
    subprocess.run(argv, check=True, timeout=DEADLINE)
    assert cm.load(outside) == TWO
    assert cm.load(path) == ONE
    assert sorted(tmp_path.iterdir()) == [path, outside]


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EPERM, errno.EACCES])
def test_irreplaceable_file_is_overwritten(
    code: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cm.save(TWO, path)

    def fail(*_: object) -> None:
        raise OSError(code, "not this one")

    monkeypatch.setattr(Path, "replace", fail)
    cm.save(ONE, path)
    assert cm.load(path) == ONE
    assert list(path.parent.iterdir()) == [path]


@POSIX
def test_full_disk_restores_overwritten_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cm.save(ONE, path)

    def fail(*_: object) -> None:
        raise OSError(errno.EBUSY, "mounted")

    monkeypatch.setattr(Path, "replace", fail)
    fsync, synced = os.fsync, []

    def fail_second(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, "full")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_second)
    with pytest.raises(OSError, match="full"):
        cm.save(TWO, path)
    assert len(synced) == 3
    assert cm.load(path) == ONE


def larger_than(size: int, file: Path) -> bool:
    try:
        return file.stat().st_size >= size
    except FileNotFoundError:  # renamed in the meantime
        return False


@POSIX
def test_file_read_during_save_is_complete(path: Path) -> None:
    with saving(path):
        sources = {cm.load(path, validate=False).cells[0].source for _ in range(20)}
    assert sources <= {"1" * 4_000_000, "2" * 4_000_000}


@POSIX
@pytest.mark.parametrize("there", [True, False])
def test_full_disk_leaves_file_unchanged(there: bool, path: Path) -> None:
    if there:
        cm.save(ONE, path)
    argv = (sys.executable, "-c", FULL, str(path))
    ended = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=DEADLINE)
    assert os.strerror(errno.EFBIG) in ended.stdout
    assert list(path.parent.iterdir()) == ([path] if there else [])
    assert not there or cm.load(path) == ONE
