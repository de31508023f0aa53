"""Writing down what is heard from a kernel and said to it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from reactivex import abc
from reactivex.disposable import CompositeDisposable

from enchannel._kernel.kernel import Kernel
from enchannel._protocol.link_event import LinkEvent, encode_event
from enchannel._protocol.message import AnyMessage, Message, now
from enchannel._recordings.format import Kind, head_of, record_of
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.process_hooks import call_at_exit
from enchannel._rx.timer import clock_of
from enchannel.errors import InvalidMessage, RecordingFailed, Remedy
from enchannel.wire import websocket

__all__ = ["Recorder", "record"]

REDACTED: Final = "<redacted>"
CHUNK: Final = 1 << 20  # bytes that are written at once, at most, and one message more

_Entry = tuple[float, Kind, Any]
_open: weakref.WeakSet[Recorder] = weakref.WeakSet()


def record(
    kernel: Kernel,
    path: str | os.PathLike[str],
    *,
    keep_input: bool = False,
    overwrite: bool = False,
) -> Recorder:
    """Write all that is heard from a kernel and said to it to a file, from now on.

    Every message of every channel, with its time and its buffers, and what becomes of link and kernel. It
    ends with the kernel, when disposed of, or at the end of its ``with`` block. The file is its owner's
    alone to read. Read it with ``Recording``, or play it with ``connect("replay:…")``.

    Args:
        kernel: One that is connected.
        path: The file.
        keep_input: Keep also what ``input()`` was answered, which may be a password.
        overwrite: Replace a file that is there.

    Raises:
        RecordingFailed: the file exists, or cannot be written. If that happens later (the disk is full),
            it is told on ``kernel.errors``, and the recording ends where it is.
        ChannelClosed: the kernel is closed.

    Example:
        >>> with ec.launch() as kernel, ec.record(kernel, "session.enchannel"):
        ...     kernel.run("6 * 7")
    """
    kernel._not_closed()
    return Recorder(kernel, Path(path), keep_input=keep_input, overwrite=overwrite)


class Recorder(abc.DisposableBase):
    """A recording that is being made; what ``record`` returns.

    Attributes:
        path: The file.
        messages: How many messages are in it.
        error: Why it ended before it was told to; None while all goes well.
    """

    def __init__(self, kernel: Kernel, path: Path, *, keep_input: bool, overwrite: bool) -> None:
        self.path: Path = path
        self.messages: int = 0
        self.error: RecordingFailed | None = None
        self._report = kernel.errors.report
        self._keep_input = keep_input
        self._pid = os.getpid()
        self._changing = threading.Lock()
        self._ended = False
        self._closed = False
        self._parts: list[bytes] = []
        self._size = 0
        self._unwritten = 0
        self._last = 0.0
        made = _created(path, overwrite)
        self._file = made.file
        self._append(head_of(kernel.id, kernel.session.id, now()))
        try:
            self._flush()
            if made.replaces is not None:
                os.replace(made.path, made.replaces)
        except OSError as error:
            self._file.close()
            if not made.is_device:
                made.path.unlink(missing_ok=True)
            raise _unwritable(path, error) from error
        self._clock = clock_of(kernel._scheduler)
        self._start = self._clock()
        self._delivery = DeliveryThread(f"enchannel recording {kernel.id[:4]}")
        self._watching = CompositeDisposable()
        self._note(Kind.STATUS, kernel.link.value)
        self._note(Kind.STATUS, kernel.state.value)
        self._watching.add(kernel._witness(_Heard(self._note)))
        self._watching.add(kernel.sent.attach(_Said(self._note, self._end)))
        _open.add(self)

    def dispose(self) -> None:
        """End the recording, and wait until all of it is in the file. May be called more than once."""
        if os.getpid() != self._pid:
            return  # the file is the parent's
        self._end(None)
        self._delivery.join(threading.TIMEOUT_MAX)
        _open.discard(self)

    def close(self) -> None:
        """The same as ``dispose``."""
        self.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.dispose()

    def __repr__(self) -> str:
        ended = " (ended)" if self._ended else ""
        return f"<Recorder {self.path}, {self.messages} messages{ended}>"

    # -- where it happens -------------------------------------------------------------------------

    def _note(self, kind: Kind, item: AnyMessage | LinkEvent | None) -> None:
        self._delivery.put(self._write, (self._clock() - self._start, kind, item))

    def _end(self, error: Exception | None) -> None:
        with self._changing:
            first, self._ended = not self._ended, True
        if first:
            self._watching.dispose()
            self._note(Kind.END, error)  # type: ignore[arg-type]  # one of ours
            self._delivery.end()

    # -- on a thread of its own -------------------------------------------------------------------

    def _write(self, entry: _Entry) -> None:
        if self._closed:
            return
        try:
            self._take(*entry)
            if not self._delivery.backlog or self._size >= CHUNK:
                self._flush()
            if entry[1] is Kind.END:
                self._close()
        except Exception as error:  # whatever it is, more would fail as well
            self._fail(error)

    def _take(self, seconds: float, kind: Kind, item: Any) -> None:
        if isinstance(item, Message):
            payload = self._frame(item)
            if payload is None:
                return
            self._unwritten += 1
        else:
            payload = b"" if item is None else encode_event(item)
        self._last = max(self._last, seconds)  # threads that speak at once may overtake each other
        self._append(*record_of(self._last, kind, payload))

    def _frame(self, message: AnyMessage) -> bytes | None:
        """None for what the backend cannot have sent."""
        if message.header.msg_type == "input_reply" and not self._keep_input:
            status = message.content.get("status")
            content = {"value": REDACTED} | ({"status": status} if status == "ok" else {})
            message = message.replace(content=content, metadata={}, buffers=())
        if not message.header.msg_id or not message.header.msg_type:
            return None
        try:
            return websocket.encode(message)
        except InvalidMessage:
            return None

    def _append(self, *parts: bytes) -> None:
        self._parts += parts
        self._size += sum(map(len, parts))

    def _flush(self) -> None:
        # No buffer of Python's own: a forked child would write what it has of it once more.
        data = memoryview(b"".join(self._parts))
        self._parts, self._size = [], 0
        while data:
            data = data[self._file.write(data) :]
        self.messages += self._unwritten
        self._unwritten = 0

    def _fail(self, error: Exception) -> None:
        self._watching.dispose()
        self._close()
        self.error = _unwritable(self.path, error, "; it has ended, and can be read up to there")
        self._report(self.error)
        self._end(None)

    def _close(self) -> None:
        self._closed = True
        self._file.close()


class _Heard:
    """A sink for what arrives."""

    def __init__(self, note: Callable[[Kind, AnyMessage | LinkEvent], None]) -> None:
        self._note = note

    def on_next(self, item: AnyMessage | LinkEvent) -> None:
        self._note(Kind.RECEIVED if isinstance(item, Message) else Kind.STATUS, item)

    def on_error(self, error: Exception) -> None: ...
    def on_completed(self) -> None: ...
    def call(self, function: Callable[[], None]) -> None: ...


class _Said:
    """A sink for what we say; it ends when the kernel does."""

    def __init__(
        self,
        note: Callable[[Kind, AnyMessage], None],
        end: Callable[[Exception | None], None],
    ) -> None:
        self._end = end
        self.on_next: Callable[[AnyMessage], None] = partial(note, Kind.SENT)
        self.on_error: Callable[[Exception], None] = end

    def on_completed(self) -> None:
        self._end(None)

    def call(self, function: Callable[[], None]) -> None: ...


class _Made(NamedTuple):
    """A file that was made for a recording.

    Attributes:
        file: To write to.
        path: Where it is.
        replaces: The file whose place it takes once something could be written.
        is_device: Whether it was there before, and is no file.
    """

    file: Any
    path: Path
    replaces: Path | None = None
    is_device: bool = False


def _created(path: Path, overwrite: bool) -> _Made:
    """A new file, for its owner alone. One that is there is not emptied: somebody may be reading it."""
    try:
        path = path.resolve()
        if overwrite and path.is_file():
            beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
            return _Made(_opened(beside, "xb"), beside, replaces=path)
        if overwrite and path.exists():
            return _Made(_opened(path, "wb"), path, is_device=True)
        return _Made(_opened(path, "xb"), path)
    except FileExistsError:
        raise RecordingFailed(f"{path} exists already", remedy=Remedy.OVERWRITE) from None
    except (OSError, ValueError, RuntimeError) as error:  # the last: symlinks that lead in a circle
        raise _unwritable(path, error) from error


def _opened(path: Path, mode: str) -> Any:
    return open(path, mode, buffering=0, opener=_for_its_owner)


def _unwritable(path: Path, error: Exception, and_so: str = "") -> RecordingFailed:
    why = getattr(error, "strerror", None) or str(error)
    return RecordingFailed(f"the recording {path} cannot be written: {why}{and_so}")


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_APPEND, 0o600)


def _end_all() -> None:
    """At the interpreter's end: its threads would end with what they have not written yet."""
    for recorder in list(_open):
        recorder.dispose()


call_at_exit(_end_all)
