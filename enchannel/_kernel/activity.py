"""The state of a kernel, derived from its messages, its backend and its heartbeat."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from enchannel.abc import KernelState

__all__ = ["KernelActivity"]


class KernelActivity:
    """A state machine: events in, state out. It sends no messages and has no clock.

    A kernel is busy while a request is that reported busy and not idle. Only the backend knows when a
    process that it restarts is up, so until then the messages of the kernel do not change the state.

    ======================== ====================================== ======================
    event                    meanwhile                              state afterwards
    ======================== ====================================== ======================
    link is open                                                    idle
    execution state busy     the backend does not restart           busy
    execution state idle     the backend does not restart           busy or idle
    execution state starting the backend does not restart           idle
    restarting, dead         from the kernel or from the backend    the same
    other backend state                                             the same
    restart is requested                                            restarting
    restart has ended        the backend reported nothing           idle, or as before
    KernelDied               not restarting                         dead
    missed heartbeats        connected, not dead or restarting      silent
    heartbeat is back        silent                                 busy or idle
    idle lost or missing     busy                                   busy or idle
    ======================== ====================================== ======================

    Thread-safe.

    Args:
        publish: Called with each new state, on the thread of the event and in order.

    Attributes:
        state: The current state.
        is_restarting: True from a request to restart, or the backend's ``restarting``, to the next state of
            the backend. If several restarts are requested, the last one counts.
    """

    def __init__(self, publish: Callable[[KernelState], None]) -> None:
        self.state = KernelState.STARTING
        self.is_restarting = False
        self._publish = publish
        self._busy: set[str] = set()
        self._pending_restarts = 0
        # The state to return to if a requested restart does not begin.
        self._state_before_restart = KernelState.STARTING
        self._lock = threading.RLock()

    @property
    def is_busy(self) -> bool:
        """True while the kernel works on any request, also of another client."""
        return bool(self._busy)

    def is_running(self, request_id: str) -> bool:
        """Return True if the kernel works on this request."""
        return request_id in self._busy

    def on_open(self) -> None:
        """Handle the opening of the link: the kernel is idle until it reports otherwise."""
        with self._lock:
            self._change_to(KernelState.IDLE)

    def on_execution_state(self, request_id: str, execution_state: object) -> None:
        """Handle a ``status`` message of the kernel.

        Args:
            request_id: The ``msg_id`` of its parent.
            execution_state: An unknown one is ignored.
        """
        with self._lock:
            match execution_state:
                case "busy":
                    self._busy.add(request_id)
                case "idle":
                    self._busy.discard(request_id)
                case "starting" | "restarting" | "dead":
                    self._busy.clear()
                case _:
                    return
            if execution_state in ("restarting", "dead"):
                self._change_to(KernelState(str(execution_state)))
            # A starting kernel sends no idle after it.
            elif not self.is_restarting:
                self._change_to(KernelState.BUSY if self._busy else KernelState.IDLE)

    def on_restart_requested(self) -> KernelState | None:
        """Handle a request to restart; return the state if it changed.

        The state changes before the backend reports it, because requests fail from now on.
        """
        with self._lock:
            if not self._pending_restarts:
                self._state_before_restart = self.state
            self._pending_restarts += 1
            self._busy.clear()
            self.is_restarting = True
            return self._change_to(KernelState.RESTARTING)

    def on_restart_ended(self, *, succeeded: bool) -> None:
        """Handle the end of a requested restart."""
        with self._lock:
            self._pending_restarts -= 1
            if self.is_restarting and not self._pending_restarts:
                self.is_restarting = False
                self._change_to(KernelState.IDLE if succeeded else self._state_before_restart)

    def on_backend_state(self, state: KernelState) -> None:
        """Handle a state that the backend reported."""
        with self._lock:
            if self._pending_restarts > 1 and state is KernelState.IDLE:
                self._state_before_restart = state
                return
            if state in (KernelState.DEAD, KernelState.RESTARTING, KernelState.STARTING):
                self._busy.clear()
            self.is_restarting = state is KernelState.RESTARTING
            self._change_to(state)

    def on_death(self) -> KernelState | None:
        """Handle the report that the kernel died; return the state if it changed.

        A backend reports the new state first. If it does not, requests still end in the state dead.
        """
        with self._lock:
            if self.is_restarting or self.state is KernelState.RESTARTING:
                return None
            self._busy.clear()
            return self._change_to(KernelState.DEAD)

    def on_heartbeat(self, is_beating: bool, *, is_connected: bool) -> KernelState | None:
        """Handle a change of the heartbeat; return the state if it changed.

        Args:
            is_beating: False after several missed heartbeats.
            is_connected: False while the connection is lost, when missed heartbeats mean nothing.
        """
        with self._lock:
            is_gone = self.state in (KernelState.DEAD, KernelState.RESTARTING)
            if not is_beating and is_connected and not is_gone:
                return self._change_to(KernelState.SILENT)
            if is_beating and self.state is KernelState.SILENT:
                return self._change_to(self._busy_or_idle())
            return None

    def on_lost(self) -> None:
        """Handle the loss of connection or kernel: the idle of running requests may be lost."""
        with self._lock:
            self._busy.clear()

    def on_idle_missing(self, request_id: str) -> None:
        """Handle a request that was answered and whose idle did not arrive."""
        with self._lock:
            self._busy.discard(request_id)
            self._end_of_busy()

    def on_recovered(self, in_flight: Collection[str]) -> None:
        """Handle a reconnect: only these requests still get an idle, that of others may be lost."""
        with self._lock:
            self._busy.intersection_update(in_flight)
            self._end_of_busy()

    def _end_of_busy(self) -> None:
        if self.state is KernelState.BUSY:
            self._change_to(self._busy_or_idle())

    def _busy_or_idle(self) -> KernelState:
        return KernelState.BUSY if self._busy else KernelState.IDLE

    def _change_to(self, state: KernelState) -> KernelState | None:
        if state is self.state:
            return None
        self.state = state
        self._publish(state)
        return state
