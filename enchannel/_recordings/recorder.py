"""Recording all messages of a kernel to a file."""

from __future__ import annotations

import os
import threading
import weakref
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from reactivex import abc
from reactivex.disposable import CompositeDisposable

from enchannel._kernel.kernel import Kernel, parts_of
from enchannel._protocol.link_event import LinkEvent, encode_event
from enchannel._protocol.message import AnyMessage, Message, now
from enchannel._recordings.format import RecordKind, encode_header, encode_record
from enchannel._recordings.recording_file import RecordingFile, write_failure
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.library_threads import is_shared_thread
from enchannel._rx.process_hooks import call_at_exit
from enchannel._rx.sink import CallbackSink, attach
from enchannel._rx.thread_calls import call_in_thread
from enchannel._rx.timer import clock_of
from enchannel._rx.waiting import refuse_on_event_loop
from enchannel.errors import InvalidMessage, RecordingFailed, WouldDeadlock
from enchannel.wire import websocket

__all__ = ["Recorder", "record"]

REDACTED: Final = "<redacted>"

_Entry = tuple[float, RecordKind, Any]
_open: weakref.WeakSet[Recorder] = weakref.WeakSet()


def record(
    kernel: Kernel,
    path: str | os.PathLike[str],
    *,
    keep_input: bool = False,
    overwrite: bool = False,
) -> Recorder:
    """Record the messages of a kernel in both directions to a file, from now on.

    Records every message of every channel, with its time and buffers, and the events of the link and the
    kernel. The recording ends with the kernel, when closed or disposed, or at the end of the ``with`` or
    ``async with`` block. Only the owner may read the file. Read it with ``Recording``, or play it with
    ``replay``.

    Args:
        kernel: A connected kernel.
        path: The file to write.
        keep_input: Also keep the answers to ``input()``, which may be passwords.
        overwrite: Replace an existing file.

    Raises:
        RecordingFailed: The file exists, or cannot be written. If writing fails later (the disk is full),
            the error is reported on ``kernel.errors`` and the recording ends there.
        ChannelClosed: The kernel is closed.
        TypeError: ``kernel`` is not a kernel, or ``path`` is not a path.

    Example:
        >>> with ec.launch() as kernel, ec.record(kernel, "session.enchannel"):
        ...     kernel.run("6 * 7")
    """
    if not isinstance(kernel, Kernel):
        raise TypeError(
            f"kernel must be a Kernel, not {type(kernel).__name__}; write record(kernel, path)"
        )
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be the path of a file, not {type(path).__name__}")
    parts_of(kernel).connection.require_open()
    return Recorder(kernel, Path(path), keep_input=keep_input, overwrite=overwrite)


class Recorder(abc.DisposableBase):
    """A recording in progress, as returned by ``record``.

    Use it with ``with`` or ``async with``: leaving the block ends the recording and waits until all of it
    is in the file. Made by ``record`` only.

    Attributes:
        path: The path of the file.
        error: The error that ended the recording early; None if there was none.
    """

    def __init__(self, kernel: Kernel, path: Path, *, keep_input: bool, overwrite: bool) -> None:
        parts = parts_of(kernel)
        self.path: Path = path
        self.error: RecordingFailed | None = None
        self._report = parts.report
        self._keep_input = keep_input
        self._pid = os.getpid()
        # Taken by the first call that ends the recording, and only ever tried.
        self._ending = threading.Lock()
        self._last_time = 0.0
        header = encode_header(kernel.id, kernel.session.id, now())
        self._file = RecordingFile(path, header, overwrite=overwrite)
        self._clock = clock_of(parts.scheduler)
        self._start = self._clock()
        self._delivery = DeliveryThread(f"enchannel recording {kernel.id[:4]}")
        self._watching = CompositeDisposable()
        self._note(RecordKind.EVENT, kernel.link_state.value)
        self._note(RecordKind.EVENT, kernel.state.value)
        self._watching.add(parts.tap(CallbackSink(self._note_received)))
        self._watching.add(
            attach(
                kernel.sent,
                CallbackSink(
                    on_next=partial(self._note, RecordKind.SENT),
                    on_error=self._end,
                    on_completed=partial(self._end, None),
                ),
            )
        )
        _open.add(self)

    @property
    def messages(self) -> int:
        """The number of messages in the file."""
        return self._file.messages

    def dispose(self) -> None:
        """End the recording without waiting for the file, which is completed in the background. Idempotent.

        ``close`` and ``aclose`` also wait.
        """
        # In a forked child, the parent writes the file.
        if os.getpid() == self._pid:
            self._end(None)

    def close(self) -> None:
        """End the recording and wait until all of it is in the file. Idempotent.

        Raises:
            WouldDeadlock: Called on a running event loop; use ``aclose`` there.
        """
        if is_shared_thread():
            self.dispose()
            return
        refuse_on_event_loop("closing a recording", "use `await recorder.aclose()`")
        self._end_and_wait()

    async def aclose(self) -> None:
        """End the recording and wait until all of it is in the file, without blocking the event loop.

        If the coroutine is cancelled, the recording has ended all the same. Idempotent.
        """
        self.dispose()
        await call_in_thread(self._end_and_wait)

    def __enter__(self) -> Self:
        try:
            refuse_on_event_loop("recording with `with`", "write `async with ec.record(…)`")
        except WouldDeadlock:
            # The block is not entered, so it cannot end the recording.
            self.dispose()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        ended = " (ended)" if self._ending.locked() else ""
        return f"<Recorder {self.path}, {self.messages} messages{ended}>"

    def _end_and_wait(self) -> None:
        self.dispose()
        if os.getpid() == self._pid:
            self._delivery.join(threading.TIMEOUT_MAX)
            _open.discard(self)

    # -- on the thread on which messages arrive or are sent ---------------------------------------

    def _note(self, kind: RecordKind, item: AnyMessage | LinkEvent | None) -> None:
        self._delivery.put(self._write, (self._clock() - self._start, kind, item))

    def _note_received(self, item: AnyMessage | LinkEvent) -> None:
        self._note(RecordKind.RECEIVED if isinstance(item, Message) else RecordKind.EVENT, item)

    def _end(self, error: Exception | None) -> None:
        if self._ending.acquire(blocking=False):
            self._watching.dispose()
            self._note(RecordKind.END, error)  # type: ignore[arg-type]  # an EnchannelError
            self._delivery.end()

    # -- on the thread of the recorder ------------------------------------------------------------

    def _write(self, entry: _Entry) -> None:
        if self._file.is_closed:
            return
        try:
            self._append(*entry)
            if not self._delivery.backlog or self._file.is_flush_due:
                self._file.flush()
            if entry[1] is RecordKind.END:
                self._file.close()
        except Exception as error:  # further writes would fail as well
            self._fail(error)

    def _append(self, seconds: float, kind: RecordKind, item: Any) -> None:
        is_message = isinstance(item, Message)
        if is_message:
            payload = self._frame(item)
            if payload is None:
                return
        else:
            payload = b"" if item is None else encode_event(item)
        # Times never decrease, also if two threads send at the same moment.
        self._last_time = max(self._last_time, seconds)
        self._file.append(*encode_record(self._last_time, kind, payload), messages=int(is_message))

    def _frame(self, message: AnyMessage) -> bytes | None:
        """Return the frame of a message; None if the backend cannot have sent it."""
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

    def _fail(self, error: Exception) -> None:
        self._watching.dispose()
        self._file.close()
        self.error = write_failure(self.path, error, "; it ended, and can be read up to this point")
        self._report(self.error)
        self._end(None)


def _finish_all() -> None:
    """Finish all recordings at interpreter exit, which would stop their threads with items unwritten."""
    for recorder in list(_open):
        recorder._end_and_wait()


call_at_exit(_finish_all)
