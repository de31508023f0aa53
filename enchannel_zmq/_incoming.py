"""The receive path of a link: from a socket's messages to the channels' subjects.

This is executed for each message, so it is written for speed. See also ``enchannel.wire.receiving``.
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from enchannel import AnyMessage, ChannelName
from enchannel.backends import IncomingSubject
from enchannel.errors import EnchannelError, MalformedFrame, RejectedFrame
from enchannel_zmq._channel_socket import ChannelSocket
from enchannel_zmq._connection_phase import ConnectionPhase, PhaseTracker
from enchannel_zmq._readiness import ReadinessProof

__all__ = ["MESSAGE_CHANNELS", "REQUEST_CHANNELS", "IncomingMessages"]

MESSAGE_CHANNELS = (
    ChannelName.SHELL,
    ChannelName.CONTROL,
    ChannelName.STDIN,
    ChannelName.IOPUB,
)
REQUEST_CHANNELS = (ChannelName.SHELL, ChannelName.CONTROL)


class IncomingMessages:
    """Delivers received messages to subjects; its methods run on the I/O thread.

    Args:
        tracker: The link's phase; messages are delivered in READY.
        proof: Takes messages on iopub as the readiness proof, until it is proven.
        on_proven: Called when a message has proved something new.
        on_echo: Called with the channel if the peer returns messages as a heartbeat port would.
        on_rejected: Called with the channel and the reason for frames that are not a valid message.
        report: Receives an error for a message whose handling failed.

    Attributes:
        messages: The subject of each message channel.
        beats: The subject of the heartbeat channel.
        batches: The number of batches of messages that were received.
    """

    def __init__(
        self,
        tracker: PhaseTracker,
        proof: ReadinessProof,
        *,
        on_proven: Callable[[], None],
        on_echo: Callable[[ChannelName], None],
        on_rejected: Callable[[ChannelName, RejectedFrame], None],
        report: Callable[[EnchannelError], None],
    ) -> None:
        self.messages = {name: IncomingSubject[AnyMessage]() for name in MESSAGE_CHANNELS}
        self.beats: IncomingSubject[bytes] = IncomingSubject()
        self.batches = 0
        self._tracker = tracker
        self._proof = proof
        self._on_proven = on_proven
        self._on_echo = on_echo
        self._on_rejected = on_rejected
        self._report = report

    def receive_beat(self, socket: ChannelSocket) -> bool:
        """Receive one heartbeat; return True if none is left."""
        try:
            beat = socket.receive(False)
            while beat.more:  # the empty frame before the beat
                beat = socket.receive(False)
        except zmq.Again:
            return True
        self.beats.on_next(beat.bytes)
        return False

    def receive_messages(self, socket: ChannelSocket) -> bool:
        """Receive and deliver a batch of messages; return True if none are left."""
        name = socket.name
        messages, drained = socket.receiver.messages()
        if messages:
            self.batches += 1
        emit, probe_ids = self.messages[name].on_next, self._proof.probe_ids
        is_plain_iopub = name is ChannelName.IOPUB and self._tracker.phase is ConnectionPhase.READY
        for message in messages:
            try:
                if isinstance(message, RejectedFrame):
                    self._on_rejected(name, message)
                elif (
                    is_plain_iopub
                    and message.header.msg_type != "iopub_welcome"
                    and message.parent_header.msg_id not in probe_ids
                ):
                    emit(message)
                else:
                    self._on_message(name, message)
            except Exception as error:  # one message's failure must not drop the next ones
                self._report(
                    MalformedFrame(
                        f"a message on {name.value} was dropped: handling it failed "
                        f"({type(error).__name__}: {error})"
                    )
                )
        return drained

    def _on_message(self, name: ChannelName, message: AnyMessage) -> None:
        is_ready = self._tracker.phase is ConnectionPhase.READY
        if not is_ready and self._proof.on_message(name, message):
            self._on_proven()
        if self._proof.is_answer(message):
            return
        if name in REQUEST_CHANNELS and message.header.msg_type.endswith("_request"):
            # Kernels send no requests on these channels.
            self._on_echo(name)
            return
        if self._tracker.phase is ConnectionPhase.READY:
            self.messages[name].on_next(message)
