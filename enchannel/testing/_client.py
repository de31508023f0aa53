"""One link of the backend under test, with a collector on each channel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import enchannel as ec
from enchannel import AnyMessage, ChannelName, EnchannelError, KernelState, LinkState, Session
from enchannel import messages as build
from enchannel.abc import ChannelPair, Link, LinkEvent, OpenContext
from enchannel.testing import _collector
from enchannel.testing._collector import Collector
from enchannel.testing._rig import Rig

__all__ = ["TIMEOUT", "Client", "client_message", "contains", "ids", "kernel_message", "select"]

TIMEOUT: Final = 20.0
# Space for the rest of a message, beside its one large part.
MAX_ENVELOPE_BYTES: Final = 4_000
EVENT_TYPES: Final = (LinkState, KernelState, EnchannelError)
MESSAGE_CHANNELS: Final = tuple(name for name in ChannelName if name is not ChannelName.HEARTBEAT)


class Client:
    """An open link; ``with`` closes it.

    Args:
        rig: The rig to connect to.
        session: The client's session; a new one by default.
        subscribe: Subscribe to everything at once; otherwise call ``subscribe`` later.
        options: Options for the backend, in addition to the rig's.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        session: Session | None = None,
        subscribe: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.session = session or Session()
        self.link: Link = rig.backend.open(
            rig.target,
            OpenContext(session=self.session, timeout=TIMEOUT),
            **{**rig.options, **(options or {})},
        )
        self.received: dict[ChannelName, Collector[Any]] = {
            name: Collector(name=f"{name.value} of a client") for name in self.link.pairs
        }
        self.events: Collector[LinkEvent] = Collector(name="events of a client")
        if subscribe:
            self.subscribe()

    def subscribe(self) -> None:
        """Subscribe to the events and to all channels."""
        self.link.events.subscribe(self.events)
        for name, pair in self.link.pairs.items():
            pair.incoming.subscribe(self.received[name])

    def pair(self, name: ChannelName) -> ChannelPair[Any]:
        """Return the pair of a channel."""
        return self.link.pairs[name]

    def send(self, *messages: AnyMessage) -> list[AnyMessage]:
        """Send messages; return them with their headers filled in."""
        filled = [self.session.fill_headers(message) for message in messages]
        for message in filled:
            self.pair(message.channel).outgoing.on_next(message)
        return filled

    def wait_for(self, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
        """Wait for the last of the messages; return those of them that arrived, in that order."""
        last = messages[-1]
        return select(messages, self.received[last.channel].wait_until(contains(last)))

    def largest(self, size: int) -> int:
        """Return ``size``, or less if the link cannot send that many bytes in one part of a message."""
        limit = self.link.capabilities.max_sent
        return size if limit is None else min(size, limit - MAX_ENVELOPE_BYTES)

    @property
    def channels(self) -> list[ChannelName]:
        """The link's channels of messages."""
        return [name for name in MESSAGE_CHANNELS if name in self.link.pairs]

    @property
    def sendable_channels(self) -> list[ChannelName]:
        """The channels on which clients send messages."""
        return [name for name in self.channels if name is not ChannelName.IOPUB]

    def close(self) -> None:
        """Close the link in time, and check the types of its events."""
        all_done = threading.Event()

        def close() -> None:
            self.link.close()
            all_done.set()

        threading.Thread(target=close, daemon=True).start()
        assert all_done.wait(_collector.DEADLINE), (
            f"link.close() did not return within {_collector.DEADLINE:g} s"
        )
        foreign = [event for event in self.events.items if not isinstance(event, EVENT_TYPES)]
        assert not foreign, (
            f"events must be LinkState, KernelState or EnchannelError, not {foreign}"
        )

    def closed(self) -> Self:
        """Close the link, and return self."""
        self.close()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def ids(messages: Iterable[AnyMessage]) -> list[str]:
    """Return the ids of messages, in order."""
    return [message.header.msg_id for message in messages]


def select(wanted: Iterable[AnyMessage], received: Iterable[AnyMessage]) -> list[AnyMessage]:
    """Return the received messages that are wanted; kernels and servers send others of their own."""
    known = set(ids(wanted))
    return [message for message in received if message.header.msg_id in known]


def contains(wanted: AnyMessage) -> Callable[[list[AnyMessage]], bool]:
    """Return a condition that becomes true once a growing list contains a message."""
    looked_at = 0

    # It looks at each item once, since it is called after every new one.
    def is_there(received: list[AnyMessage]) -> bool:
        nonlocal looked_at
        new, looked_at = received[looked_at:], len(received)
        return wanted.header.msg_id in ids(new)

    return is_there


def client_message(channel: ChannelName, number: int = 0, size: int = 0) -> AnyMessage:
    """Return a message that a client may send on a channel, of at least ``size`` bytes."""
    text = f"{number} ".ljust(size, "x")
    if channel is ChannelName.CONTROL:
        return ec.create_message("debug_request", _debug(number, text), channel=channel)
    if channel is ChannelName.STDIN:
        return ec.input_reply(text)
    return ec.execute_request(f"# {text}")


def kernel_message(channel: ChannelName, number: int, client: Client) -> AnyMessage:
    """Return a message that a kernel may send on a channel, to a request of the client."""
    request = client.session.fill_headers(client_message(ChannelName.SHELL))
    made: AnyMessage
    if channel is ChannelName.CONTROL:
        made = ec.create_message("debug_reply", _debug(number), channel=channel, parent=request)
    elif channel is ChannelName.STDIN:
        made = build.input_request(f"question {number}", parent=request)
    elif channel is ChannelName.SHELL:
        made = build.execute_reply(number, parent=request)
    else:
        made = build.stream("stdout", f"{number}\n", parent=request)
    return Session(username="kernel").fill_headers(made)


def _debug(number: int, text: str = "") -> dict[str, Any]:
    arguments = {"text": text}
    return {"type": "request", "seq": number, "command": "debugInfo", "arguments": arguments}
