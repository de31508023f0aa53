"""The parts of one kernel, and how they are wired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactivex import abc

from enchannel._kernel.activity import KernelActivity
from enchannel._kernel.channel_set import ChannelSet, ChannelTypes
from enchannel._kernel.comm import CommContext, Comms
from enchannel._kernel.connection import Connection
from enchannel._kernel.dispatch import Dispatcher
from enchannel._kernel.in_flight import DEFAULT_TIMEOUT
from enchannel._kernel.interrupts import Interrupter
from enchannel._kernel.lifecycle import LifecycleActions
from enchannel._kernel.remaining_output import IdleOrder
from enchannel._kernel.request_registry import RequestRegistry
from enchannel._kernel.stdin import END_OF_FILE
from enchannel._kernel.subjects import KernelSubjects
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._protocol.session import Session
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.sink import Sink
from enchannel.abc import Capabilities, Link, LinkEvent, LinkState
from enchannel.errors import EnchannelError
from enchannel.messages import input_reply

__all__ = ["KernelParts"]


class KernelParts:
    """The parts of a kernel, and its interface inside the library. Implements ``RequestHost``.

    Attributes:
        subjects: The observables beside the channels.
        scheduler: The scheduler of timeouts, delays and heartbeats.
        activity: Its state, and the requests that it works on.
        connection: Its link and its channels.
        idle_order: The order of its idle status and its output.
        requests: Its in-flight requests.
        comms: Its open comms.
        lifecycle: Interrupt, restart, shutdown.
        interrupter: Interrupts that the library makes itself.
        dispatcher: Routes incoming messages and events.
    """

    def __init__(
        self,
        open_link: Callable[[], Link],
        session: Session,
        *,
        scheduler: abc.SchedulerBase,
        silent_after: float | None,
        max_in_flight: int | None,
        channel_types: ChannelTypes[Any],
    ) -> None:
        self.scheduler = scheduler
        self.subjects = subjects = KernelSubjects(f"enchannel kernel {session.id[:4]}")
        self.activity = KernelActivity(subjects.set_state)
        channels = ChannelSet(
            session,
            subjects,
            scheduler=scheduler,
            silent_after=silent_after,
            types=channel_types,
        )
        self.connection = Connection(open_link, subjects, channels)
        self.idle_order = IdleOrder()
        self.requests = RequestRegistry(self, max_in_flight)
        self.comms = Comms(
            CommContext(
                send=self._send_on_shell,
                can_send=lambda: self.capabilities.can_send,
                delivery=subjects.delivery,
                report=subjects.report,
            )
        )
        self.lifecycle = LifecycleActions(
            self.connection, self.requests, self.activity, subjects, scheduler
        )
        self.interrupter = Interrupter(
            lambda: self.lifecycle.interrupt(DEFAULT_TIMEOUT),
            connection=self.connection,
            activity=self.activity,
            subjects=subjects,
            hold=self.requests.gate.hold,
        )
        self.dispatcher = Dispatcher(
            subjects=subjects,
            channels=channels,
            activity=self.activity,
            requests=self.requests,
            comms=self.comms,
            interrupter=self.interrupter,
            lifecycle=self.lifecycle,
        )
        self.connection.bind(self.dispatcher)

        # Each of the other methods of RequestHost is a method of one part.
        self.require_link = self.connection.require_link
        self.send = self.connection.send
        self.report = subjects.report
        self.probe = self.requests.probe
        self.interrupt = self.interrupter.interrupt
        self.submit = self.requests.gate.submit
        self.send_waiting = self.requests.gate.send_waiting
        self.reason_for_waiting = self.requests.gate.reason_for_waiting
        self.hold = self.requests.gate.hold
        self.on_idle_missing = self.activity.on_idle_missing
        self.on_recovered = self.activity.on_recovered

    def tap(self, sink: Sink[AnyMessage | LinkEvent]) -> abc.DisposableBase:
        """Pass incoming messages and link events to a sink, before anything else gets them.

        Unlike a subscriber, a tap is not expected to answer ``input()``, and gets no terminal event.
        """
        return self.subjects.taps.attach(sink)

    # -- RequestHost --------------------------------------------------------------------------------

    @property
    def delivery(self) -> DeliveryThread:
        return self.subjects.delivery

    @property
    def capabilities(self) -> Capabilities:
        return self.connection.require_link().capabilities

    @property
    def is_link_lost(self) -> bool:
        return self.subjects.link_state.value is LinkState.LOST

    @property
    def is_busy(self) -> bool:
        return self.activity.is_busy

    def on_unanswered_input(self, request: AnyMessage) -> None:
        if self.capabilities.can_send and not self.connection.channels.is_stdin_observed():
            self.report(
                EnchannelError(
                    f"input() failed in request {request.parent_header.msg_id[:8]}, which was interrupted "
                    "because no on_input was given; pass on_input, or subscribe to kernel.stdin"
                )
            )
            if request.parent_header.subshell_id is None:
                self.interrupt(request.parent_header.msg_id)
            else:
                # An interrupt would hit the main shell.
                self.send(input_reply(END_OF_FILE, parent=request))

    def _send_on_shell(self, message: AnyMessage) -> None:
        self.connection.channel(ChannelName.SHELL).on_next(message)
