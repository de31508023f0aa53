"""The decision when a request is sent, and the requests that wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from enchannel._kernel.in_flight import InFlightRequest

__all__ = ["RequestGate"]


class RequestGate:
    """Sends requests, and holds code back while earlier code is being interrupted. Thread-safe.

    An interrupt raises an error in the code that runs, and then a kernel aborts the code behind it. So code
    for the main shell waits here, in order, as long as there is a hold. Everything else is sent at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holds: set[object] = set()
        self._waiting: dict[str, InFlightRequest] = {}
        self._is_sending = False

    def submit(self, request: InFlightRequest) -> None:
        """Send a request, or let it wait."""
        # Without the lock: every request passes here, and a hold of another thread may as well be later.
        if not request.is_main_code or not (self._holds or self._waiting or self._is_sending):
            request.transmit()
            return
        with self._lock:
            self._waiting[request.id] = request
        self._send_waiting()

    def discard(self, request: InFlightRequest) -> None:
        """Forget a request that has ended."""
        if request.id in self._waiting:
            with self._lock:
                self._waiting.pop(request.id, None)

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
            self._send_waiting()

        return release

    def reset(self) -> None:
        """End all holds: the code that they were for has ended."""
        with self._lock:
            self._holds.clear()
        self._send_waiting()

    def _send_waiting(self) -> None:
        # One thread at a time, so that the order remains; code that is submitted meanwhile is sent here.
        while (request := self._next()) is not None:
            try:
                request.transmit()
            finally:
                self._is_sending = False

    def _next(self) -> InFlightRequest | None:
        with self._lock:
            if self._holds or self._is_sending or not self._waiting:
                return None
            self._is_sending = True
            return self._waiting.pop(next(iter(self._waiting)))
