"""All channels of one kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from reactivex import abc

from enchannel._kernel.channel import ChannelContext, MessageChannel, RoutingChannel, emitter_of
from enchannel._kernel.heartbeat import Heartbeat, pause, unpause
from enchannel._kernel.subjects import KernelSubjects
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._protocol.session import Session
from enchannel._rx.fanout import terminate
from enchannel.abc import Capabilities, Link
from enchannel.errors import NotSupported

__all__ = ["ChannelSet", "ChannelTypes"]

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTypes(Generic[K]):
    """The classes of the channels, which lead to the kernel and are defined where its class is.

    Attributes:
        kernel: The kernel.
        channel: The class of its message channels.
        main: The class of its main channel.
    """

    kernel: K
    channel: type[MessageChannel[K]]
    main: type[RoutingChannel[K]]


class ChannelSet(Generic[K]):
    """The channels of a link, the main channel over them, and the heartbeat.

    Attributes:
        main: All message channels in one.
        emit_on_main: Emits a message of any channel on ``main``.
        heartbeat: None before ``attach``, and if the backend does not support it.
    """

    def __init__(
        self,
        session: Session,
        subjects: KernelSubjects,
        *,
        scheduler: abc.SchedulerBase,
        silent_after: float | None,
        types: ChannelTypes[K],
    ) -> None:
        self._context = ChannelContext(
            kernel=types.kernel,
            session=session,
            sent=subjects.sent,
            can_send=self._can_send,
            on_message=_ignore,
            on_subscribed=self._on_subscribed,
            delivery=subjects.delivery,
            report=subjects.report,
        )
        self._types = types
        self._by_name: dict[ChannelName, MessageChannel[K]] = {}
        self.main = types.main(self._by_name, self._context)
        self.emit_on_main = emitter_of(self.main)
        self.heartbeat: Heartbeat | None = None
        self._scheduler = scheduler
        self._silent_after = silent_after
        # Empty, or the callback of the link; popped without a lock, since a finalizer may subscribe.
        self._on_first_subscriber: list[Callable[[], None]] = []
        self._capabilities = Capabilities()

    def attach(
        self,
        link: Link,
        *,
        on_message: Callable[[AnyMessage], None],
        on_heartbeat: Callable[[bool], None],
    ) -> None:
        """Create the channels of a link.

        Args:
            link: The link.
            on_message: Called with each incoming message before the subscribers of its channel get it.
            on_heartbeat: Called with False when the heartbeat stops, and with True when it is back.
        """
        context = replace(self._context, on_message=on_message)
        self._capabilities = link.capabilities
        if link.on_first_subscriber is not None:
            self._on_first_subscriber.append(link.on_first_subscriber)
        for name, pair in link.pairs.items():
            if name is not ChannelName.HEARTBEAT:
                self._by_name[name] = self._types.channel(name, pair, context)
        if (pings := link.pairs.get(ChannelName.HEARTBEAT)) is not None:
            self.heartbeat = Heartbeat(
                pings,
                context.delivery,
                context.report,
                self._silent_after,
                self._scheduler,
                on_heartbeat,
            )

    def get(self, name: ChannelName) -> MessageChannel[K]:
        """Return a message channel.

        Raises:
            NotSupported: the backend does not support it.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise NotSupported(
                f"this kernel or its backend does not support the {name} channel"
            ) from None

    def is_stdin_observed(self) -> bool:
        """Return True if a subscriber may answer the input requests of the kernel."""
        stdin = self._by_name.get(ChannelName.STDIN)
        return self.main.observer_count > 0 or (stdin is not None and stdin.observer_count > 0)

    @property
    def has_subscribers(self) -> bool:
        """True if any message channel has a subscriber."""
        return any(channel.observer_count for channel in (*self._by_name.values(), self.main))

    def unpause_heartbeat(self) -> None:
        """Start sending pings; ``attach`` does not."""
        if self.heartbeat is not None:
            unpause(self.heartbeat)

    def pause_heartbeat(self) -> None:
        """Stop sending pings."""
        if self.heartbeat is not None:
            pause(self.heartbeat)

    def terminate(self, error: Exception | None) -> None:
        """Complete, or fail, every channel."""
        for channel in (*self._by_name.values(), self.main):
            terminate(channel, error)
        if self.heartbeat is not None:
            terminate(self.heartbeat, error)

    def _can_send(self) -> bool:
        return self._capabilities.can_send

    def _on_subscribed(self) -> None:
        if not self._on_first_subscriber:
            return
        try:
            callback = self._on_first_subscriber.pop()
        except IndexError:  # another thread was first
            return
        callback()


def _ignore(message: AnyMessage) -> None: ...
