"""The decision when a request is sent, and the requests that wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count

from enchannel._kernel.in_flight import InFlightRequest
from enchannel._kernel.remaining_output import Queue
from enchannel._outputs.result import request_aborted

__all__ = ["DEFAULT_MAX_IN_FLIGHT", "RequestGate", "validate_max_in_flight"]

# ipykernel drops requests beyond some 2,000, and each may need a probe behind it.
DEFAULT_MAX_IN_FLIGHT = 500


class RequestGate:
    """Sends requests, a limited number at a time, and holds code back while earlier code is interrupted.

    A kernel drops requests that exceed its queue. So beyond ``max_in_flight`` unanswered requests in one
    queue, later ones wait here, in order. An interrupt raises an error in the code that runs, and then a
    kernel aborts the code behind it. So code for the main shell also waits as long as there is a hold.
    Thread-safe.

    Args:
        max_in_flight: The maximum number of unanswered requests in each queue; None is unlimited.
    """

    def __init__(self, max_in_flight: int | None) -> None:
        self._max_in_flight = max_in_flight
        self._lock = threading.Lock()
        self._numbers = count()
        self._holds: set[object] = set()
        self._lines: dict[Queue, _Line] = {}
        self._waiting = 0
        self._is_sending = False
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return self._waiting

    def submit(self, request: InFlightRequest) -> None:
        """Send a request, or let it wait."""
        if request.is_urgent:
            request.transmit()
            return
        with self._lock:
            line = self._lines.setdefault(request.queue, _Line())
            is_held = request.is_main_code and bool(self._holds)
            line.add(request, next(self._numbers), is_held)
            self._waiting += 1
        self.send_waiting()

    def discard(self, request: InFlightRequest) -> None:
        """Forget a request that has ended; ``send_waiting`` sends those that waited for its end.

        A kernel that aborts code aborts all that it has received. So code that waits here is aborted too.
        """
        aborted: list[InFlightRequest] = []
        with self._lock:
            line = self._lines.get(request.queue)
            if line is None:
                return
            self._waiting -= line.remove(request)
            if request.was_aborted:
                aborted = line.to_abort()
            if not line:
                del self._lines[request.queue]
        for waiting in aborted:
            waiting.fail(request_aborted())

    def hold(self) -> Callable[[], None]:
        """Hold code back from now on.

        Returns:
            A function that ends this hold; calling it again is a no-op.
        """
        hold = object()
        with self._lock:
            self._holds.add(hold)

        def release() -> None:
            with self._lock:
                self._holds.discard(hold)
            self.send_waiting()

        return release

    def close(self) -> None:
        """Send nothing until ``reset``."""
        self._is_closed = True

    def reset(self) -> None:
        """End all holds: the code that they were for has ended."""
        with self._lock:
            self._holds.clear()
            self._is_closed = False
        self.send_waiting()

    def reason_for_waiting(self, request: InFlightRequest) -> str:
        """Explain why a request was not sent."""
        with self._lock:
            if request.is_main_code and self._holds:
                return (
                    "an interrupt of earlier code has not taken effect; kernel.restart() ends code that "
                    "ignores interrupts"
                )
            line = self._lines.get(request.queue)
            ahead = 0 if line is None else line.count_before(request)
        return f"it waits behind {ahead} request{'' if ahead == 1 else 's'} (see max_in_flight)"

    def send_waiting(self) -> None:
        """Send the requests that need not wait any longer; called without a lock."""
        # One thread at a time, so that the order remains; later requests are sent here meanwhile.
        while self._waiting and (request := self._next()) is not None:
            try:
                request.transmit()
            finally:
                self._is_sending = False

    def _next(self) -> InFlightRequest | None:
        with self._lock:
            if self._is_sending or self._is_closed:
                return None
            for line in self._lines.values():
                request = line.pop(self._max_in_flight, is_held=bool(self._holds))
                if request is not None:
                    self._is_sending = True
                    self._waiting -= 1
                    return request
            return None


class _Line:
    """The requests of one queue: those that were sent and not answered, and those that wait."""

    def __init__(self) -> None:
        self._unanswered: set[str] = set()
        # Code for the main shell, which can be held, and all others; with their numbers.
        self._code: dict[str, tuple[int, InFlightRequest]] = {}
        self._others: dict[str, tuple[int, InFlightRequest]] = {}
        # Code that was held back from an interrupt, so that it is not aborted.
        self._protected: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._unanswered or self._code or self._others)

    def add(self, request: InFlightRequest, number: int, is_protected: bool) -> None:
        """Let a request wait."""
        waiting = self._code if request.is_main_code else self._others
        waiting[request.id] = (number, request)
        if is_protected:
            self._protected.add(request.id)

    def remove(self, request: InFlightRequest) -> int:
        """Forget a request; return 1 if it waited, else 0."""
        self._unanswered.discard(request.id)
        self._protected.discard(request.id)
        waiting = self._code if request.is_main_code else self._others
        return 0 if waiting.pop(request.id, None) is None else 1

    def pop(self, limit: int | None, *, is_held: bool) -> InFlightRequest | None:
        """Return the next request to send; None if there is none, or the limit is reached."""
        if limit is not None and len(self._unanswered) >= limit:
            return None
        heads = [
            (next(iter(waiting.values())), waiting)
            for waiting in ((self._others,) if is_held else (self._code, self._others))
            if waiting
        ]
        if not heads:
            return None
        (_, request), waiting = min(heads, key=lambda head: head[0][0])
        del waiting[request.id]
        self._protected.discard(request.id)
        self._unanswered.add(request.id)
        return request

    def to_abort(self) -> list[InFlightRequest]:
        """Return the code that waits behind a request that the kernel has aborted."""
        waiting = [*self._code.values(), *self._others.values()]
        return [
            request
            for _, request in sorted(waiting, key=lambda entry: entry[0])
            if request.is_code and request.id not in self._protected
        ]

    def count_before(self, request: InFlightRequest) -> int:
        """Return the number of requests that are ahead of one that waits."""
        waiting = dict([*self._code.values(), *self._others.values()])
        own = next((number for number, other in waiting.items() if other is request), 0)
        return len(self._unanswered) + sum(number < own for number in waiting)


def validate_max_in_flight(value: object) -> None:
    """Raise TypeError or ValueError unless this is a positive number of requests, or None."""
    if value is not None and type(value) is not int:
        raise TypeError(f"max_in_flight must be a number of requests or None, not {value!r}")
    if value is not None and value < 1:
        raise ValueError(f"max_in_flight must be a positive number or None, not {value!r}")
