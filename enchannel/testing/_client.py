"""One link of the backend under test, and all that it hears."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import enchannel as ec
from enchannel import AnyMessage, ChannelName, EnchannelError, KernelState, LinkState, Session
from enchannel import messages as build
from enchannel.abc import ChannelPair, Link, LinkEvent
from enchannel.testing import _collector
from enchannel.testing._collector import Collector
from enchannel.testing._rig import Rig

__all__ = ["TIMEOUT", "Client", "from_clients", "from_kernel", "has", "ids", "of"]

TIMEOUT: Final = 20.0
AROUND: Final = 4_000  # bytes of a message, beside what is large in it
OURS: Final = (LinkState, KernelState, EnchannelError)
MESSAGES: Final = tuple(name for name in ChannelName if name is not ChannelName.HEARTBEAT)


class Client:
    """A link that is open; ``with`` closes it.

    Args:
        rig: What it connects to.
        session: Who it is; somebody new by default.
        listens: Whether it listens from the beginning; else ``listen`` is still to be called.
        options: For the backend, beside the rig's own.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        session: Session | None = None,
        listens: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.session = session or Session()
        self.link: Link = rig.backend.open(
            rig.target,
            session=self.session,
            timeout=TIMEOUT,
            **{**rig.options, **(options or {})},
        )
        self.heard: dict[ChannelName, Collector[Any]] = {
            name: Collector() for name in self.link.pairs
        }
        self.status: Collector[LinkEvent] = Collector()
        if listens:
            self.listen()

    def listen(self) -> None:
        """Subscribe to everything."""
        self.link.events.subscribe(self.status)
        for name, pair in self.link.pairs.items():
            pair.incoming.subscribe(self.heard[name])

    def pair(self, name: ChannelName) -> ChannelPair[Any]:
        """What the link has for a channel."""
        return self.link.pairs[name]

    def say(self, *messages: AnyMessage) -> list[AnyMessage]:
        """Say something; the messages as they went."""
        folded = [self.session.fill_headers(message) for message in messages]
        for message in folded:
            self.pair(message.channel).outgoing.on_next(message)
        return folded

    def hears(self, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
        """Wait until the last of the messages has been heard; which of them were, in that order."""
        return of(messages, self.heard[messages[-1].channel].wait_until(has(messages[-1])))

    def at_most(self, size: int) -> int:
        """So many bytes, or what the link can send in one message beside what is around them."""
        limit = self.link.capabilities.max_sent
        return size if limit is None else min(size, limit - AROUND)

    @property
    def channels(self) -> list[ChannelName]:
        """Those of messages."""
        return [name for name in MESSAGES if name in self.link.pairs]

    @property
    def speaks_on(self) -> list[ChannelName]:
        """Those on which something can be said."""
        return [name for name in self.channels if name is not ChannelName.IOPUB]

    def close(self) -> None:
        """Close the link, which must not hang; what it told was told in our words."""
        all_done = threading.Event()

        def close() -> None:
            self.link.close()
            all_done.set()

        threading.Thread(target=close, daemon=True).start()
        assert all_done.wait(_collector.DEADLINE), "close has not returned"
        foreign = [status for status in self.status.items if not isinstance(status, OURS)]
        assert not foreign, f"status told of {foreign}"

    def closed(self) -> Self:
        """Close it, and use what is left."""
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
    """Their ids, in order."""
    return [message.header.msg_id for message in messages]


def of(wanted: Iterable[AnyMessage], heard: Iterable[AnyMessage]) -> list[AnyMessage]:
    """Those of the heard messages that are wanted: kernels and servers say things of their own."""
    known = set(ids(wanted))
    return [message for message in heard if message.header.msg_id in known]


def has(wanted: AnyMessage) -> Callable[[list[AnyMessage]], bool]:
    """Whether a message is among those that grow in number; each is looked at once."""
    looked_at = 0

    def is_there(heard: list[AnyMessage]) -> bool:
        nonlocal looked_at
        new, looked_at = heard[looked_at:], len(heard)
        return wanted.header.msg_id in ids(new)

    return is_there


def from_clients(channel: ChannelName, number: int = 0, size: int = 0) -> AnyMessage:
    """What a client may say on a channel, of so many bytes at least."""
    text = f"{number} ".ljust(size, "x")
    if channel is ChannelName.CONTROL:
        return ec.create_message("debug_request", _debug(number, text), channel=channel)
    if channel is ChannelName.STDIN:
        return ec.input_reply(text)
    return ec.execute_request(f"# {text}")


def from_kernel(channel: ChannelName, number: int, client: Client) -> AnyMessage:
    """What a kernel may say on a channel, to one client's request."""
    request = client.session.fill_headers(from_clients(ChannelName.SHELL))
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
