"""Events of a run, passed from the library's threads to the main thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import Generic, TypeAlias, TypeVar

from reactivex import Observable
from reactivex.subject import AsyncSubject

import enchannel as ec
from enchannel._cli.input_reader import InputReader
from enchannel._cli.terminal.signals import InputCancelled, Signals

__all__ = ["PendingInput", "KernelWarning", "RunEnd", "RunEvent", "RunInbox"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PendingInput:
    """A call of ``input()`` in the kernel that waits for its answer.

    Attributes:
        request: The request of the kernel.
        answer: Emits the answer.
        received_at: The time of ``time.monotonic()``.
    """

    request: ec.InputPrompt
    answer: AsyncSubject[str]
    received_at: float


@dataclass(frozen=True, slots=True)
class KernelWarning:
    """A problem that does not end the run."""

    text: str


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The last item of a run."""

    error: Exception | None = None


RunEvent: TypeAlias = PendingInput | KernelWarning | RunEnd


class RunInbox(Generic[T]):
    """A queue of events; Ctrl-C and ``input()`` work on the main thread only.

    Args:
        input_reader: Reads the answers to ``input()``.
        signals: The signals that interrupt reading.

    Attributes:
        has_ended: Set when the run has ended.
    """

    def __init__(self, input_reader: InputReader, signals: Signals) -> None:
        self.has_ended = Event()
        self._input_reader = input_reader
        self._signals = signals
        self._queue: SimpleQueue[T | RunEvent] = SimpleQueue()

    # -- on the library's threads -------------------------------------------------------------------

    def put(self, item: T | RunEvent) -> None:
        """Append an item."""
        self._queue.put(item)

    def on_error(self, error: ec.EnchannelError) -> None:
        """Append a warning, if an error of ``kernel.errors`` means that output is lost."""
        # The request fails with an OutputMissing itself.
        is_loss = isinstance(error, (ec.MessagesMayBeMissing, ec.RejectedFrame))
        if is_loss and not isinstance(error, ec.OutputMissing):
            self.put(KernelWarning(str(error)))

    def on_input(self, request: ec.InputPrompt) -> Observable[str]:
        """Append an input request; the observable emits the answer."""
        answer: AsyncSubject[str] = AsyncSubject()
        self.put(PendingInput(request, answer, time.monotonic()))
        return answer

    def end(self, error: Exception | None = None) -> None:
        """Append the last item; an answer that is being read is not needed any more."""
        self.has_ended.set()
        self.put(RunEnd(error))
        self._signals.cancel_input()

    # -- on the main thread -------------------------------------------------------------------------

    def get(self, timeout: float | None = None) -> T | RunEvent:
        """Return the next item.

        Args:
            timeout: Seconds to wait; 0 does not wait, None waits forever.

        Raises:
            Empty: no item came in time.
        """
        return self._queue.get(block=timeout != 0, timeout=timeout)

    def answer(self, pending: PendingInput) -> None:
        """Read and send the answer to ``input()``, unless the run ends or is interrupted meanwhile."""
        try:
            with self._signals.reading_input():
                if self.has_ended.is_set():
                    return
                answer = self._input_reader.read(pending.request.prompt, pending.request.password)
        except InputCancelled:
            return
        except EOFError as end:
            pending.answer.on_error(end)
            return
        pending.answer.on_next(answer)
        pending.answer.on_completed()
