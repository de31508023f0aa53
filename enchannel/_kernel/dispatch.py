"""Routing of incoming messages and link events to the parts of a kernel."""

from __future__ import annotations

from typing import Any

from enchannel._kernel.activity import KernelActivity
from enchannel._kernel.channel_set import ChannelSet
from enchannel._kernel.comm import Comms
from enchannel._kernel.in_flight import InFlightRequest
from enchannel._kernel.interrupts import Interrupter
from enchannel._kernel.lifecycle import LifecycleActions
from enchannel._kernel.request_registry import RequestRegistry
from enchannel._kernel.subjects import KernelSubjects
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel.abc import KernelState, LinkEvent, LinkState
from enchannel.errors import (
    ChannelClosed,
    ConnectionLost,
    EnchannelError,
    KernelDied,
    MessageNotForwarded,
)

__all__ = ["Dispatcher"]

HANDLED_TYPES = frozenset({"status", "input_request", "comm_open", "comm_msg", "comm_close"})


class Dispatcher:
    """Receives messages and events of a connection, on the backend's thread, and passes them on.

    The order for a message: taps, the state of the kernel, comms, the request that it answers, the main
    channel, and then the channel on which it came. So a request that ends finds the state that ended it.
    """

    def __init__(
        self,
        *,
        subjects: KernelSubjects,
        channels: ChannelSet[Any],
        activity: KernelActivity,
        requests: RequestRegistry,
        comms: Comms,
        interrupter: Interrupter,
        lifecycle: LifecycleActions,
    ) -> None:
        self._subjects = subjects
        self._channels = channels
        self._activity = activity
        self._requests = requests
        self._comms = comms
        self._interrupter = interrupter
        self._lifecycle = lifecycle
        self._taps = subjects.taps
        self._in_flight = requests.by_id
        self._emit_on_main = channels.emit_on_main

    def on_message(self, message: AnyMessage) -> None:
        """Pass a message on; it runs for every message and makes as few calls as possible."""
        if self._taps.sinks:
            self._taps.dispatch(message)
        request = self._in_flight.get(message.parent_header.msg_id)
        if message.header.msg_type in HANDLED_TYPES:
            self._handle(message, request)
        if request is not None:
            request.on_next(message)
        self._emit_on_main(message)

    def on_event(self, event: LinkEvent) -> None:
        """Handle an event of the link; a requested end is not reported."""
        is_expected = self._lifecycle.is_expected(event)
        if isinstance(event, KernelDied):
            self._on_death()
        if not is_expected:
            self._taps.dispatch(event)
        if isinstance(event, LinkState):
            self._on_link_state(event)
        elif isinstance(event, KernelState):
            self._on_kernel_state(event)
        elif isinstance(event, MessageNotForwarded):
            if not self._requests.fail(event.msg_id, event.reason):
                self._subjects.report(event)
        else:
            is_passed_on = False
            if isinstance(event, (KernelDied, ConnectionLost)):
                is_passed_on = self._requests.has_subscribers or self._comms.has_subscribers
                self._on_lost(event)
            if not is_expected:
                self._subjects.report(event, is_passed_on=is_passed_on)

    def on_heartbeat(self, is_beating: bool) -> None:
        """Handle a change of the heartbeat."""
        is_connected = self._subjects.link_state.value is LinkState.CONNECTED
        state = self._activity.on_heartbeat(is_beating, is_connected=is_connected)
        if state is not None:
            self._taps.dispatch(state)

    def on_open(self) -> None:
        """Handle the opening of the link."""
        self._activity.on_open()

    def on_link_error(self, error: Exception) -> None:
        """Report the final failure of the link, and fail everything with it."""
        if isinstance(error, KernelDied):
            self._on_death()
        is_passed_on = (
            self._requests.has_subscribers
            or self._comms.has_subscribers
            or self._channels.has_subscribers
        )
        self._subjects.report(error, is_passed_on=is_passed_on)
        self.terminate(error)

    def on_link_completed(self) -> None:
        """Complete everything, unless ``close`` ended the link and does it."""
        if not self._lifecycle.is_closing:
            self.terminate()

    def terminate(self, error: Exception | None = None) -> None:
        """Complete, or fail, every request, comm, channel and subject."""
        self._requests.fail_all(
            error or ChannelClosed("the connection was closed before the request was answered")
        )
        self._comms.terminate()
        self._channels.terminate(error)
        self._subjects.terminate(error)

    def _handle(self, message: AnyMessage, request: InFlightRequest | None) -> None:
        kind = message.header.msg_type
        if kind == "status":
            if message.channel is ChannelName.IOPUB:
                self._on_status(message)
        elif kind != "input_request":
            self._comms.on_message(message)
        elif request is None and message.channel is ChannelName.STDIN:
            self._requests.host.on_unanswered_input(message)

    def _on_status(self, message: AnyMessage) -> None:
        state: object = message.content.get("execution_state")
        self._activity.on_execution_state(message.parent_header.msg_id, state)

    def _on_link_state(self, state: LinkState) -> None:
        is_connected = state is LinkState.CONNECTED
        if is_connected:
            self._lifecycle.on_new_process()
        self._subjects.set_link_state(state)
        if is_connected:
            self._interrupter.on_reconnect()
            self._requests.recover()

    def _on_kernel_state(self, state: KernelState) -> None:
        if self._activity.is_restarting and state is KernelState.IDLE:
            self._lifecycle.on_new_process()
        self._activity.on_backend_state(state)

    def _on_death(self) -> None:
        if (state := self._activity.on_death()) is not None:
            self._taps.dispatch(state)

    def _on_lost(self, error: EnchannelError) -> None:
        self._activity.on_lost()
        self._requests.fail_all(error)
        self._comms.terminate(error)
