"""Proof that a link loses no messages: that its iopub subscription is in force.

A kernel publishes to a client only once it has processed the client's subscription, and ZeroMQ does not
report when that happens. Any message that arrives on iopub proves it. A kernel that sends ``iopub_welcome``
(ipykernel 7, xeus) thereby proves it at once. Other kernels are probed: the status messages of a
``kernel_info_request`` are published on iopub.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from enchannel import AnyMessage, ChannelName, Session, kernel_info_request
from enchannel_zmq._io_thread import Timer, TimerGroup

__all__ = ["ReadinessProof"]

# Seconds that a kernel has for its welcome message before it is probed.
PROBE_DELAY = 0.05
PROBE_INTERVAL = 0.2


class ReadinessProof:
    """Proves that iopub messages arrive, by probes if needed; use it on the I/O thread only.

    Args:
        session: Fills the headers of the probes.
        timers: Schedules the probes.
        send: Sends a probe on its channel, if that is connected.

    Attributes:
        topic: A topic of this link alone, to subscribe to; a welcome message names it.
        is_proven: True once a message has arrived on iopub.
        is_answered: True once the kernel has handled a message. By then it has bound all its sockets; a
            welcome message may be sent before.
        needs_answer: True if the probes go on until the kernel answers one.
        probe_ids: Message ids of all probes sent.
    """

    def __init__(
        self, session: Session, timers: TimerGroup, send: Callable[[AnyMessage], None]
    ) -> None:
        self.topic = f"enchannel-{uuid.uuid4().hex}"
        self.is_proven = self.is_answered = self.needs_answer = False
        self.probe_ids: set[str] = set()
        self._session = session
        self._timers = timers
        self._send = send
        self._next_probe: Timer | None = None

    def reset(self) -> None:
        """Require a new proof, since the iopub socket is a new one."""
        self.is_proven = self.is_answered = False

    def on_message(self, name: ChannelName, message: AnyMessage) -> bool:
        """Note the proof in a message of this channel; return True if it proves something new."""
        before = self.is_proven, self.is_answered
        if name is ChannelName.IOPUB:
            self.is_proven = True
            self.is_answered |= message.header.msg_type != "iopub_welcome"
        else:
            self.is_answered |= self.is_answer(message)
        return before != (self.is_proven, self.is_answered)

    def start_probing(self) -> None:
        """Send probes until the proof is there; a no-op if that is under way."""
        if self._next_probe is None or not self._next_probe.is_pending:
            self._next_probe = self._timers.later(PROBE_DELAY, self._probe)

    def is_answer(self, message: AnyMessage) -> bool:
        """Return True for a reply to a probe and for the welcome to ``topic``: for this link only."""
        if message.parent_header.msg_id in self.probe_ids:
            return True
        return (
            message.header.msg_type == "iopub_welcome"
            and message.content.get("subscription") == self.topic
        )

    def _probe(self) -> None:
        if self.is_proven and (self.is_answered or not self.needs_answer):
            return
        for name in (ChannelName.CONTROL, ChannelName.SHELL):
            probe = self._session.fill_headers(kernel_info_request(channel=name))
            self.probe_ids.add(probe.header.msg_id)
            self._send(probe)
        self._next_probe = self._timers.later(PROBE_INTERVAL, self._probe)
