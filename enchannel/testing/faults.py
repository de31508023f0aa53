"""What goes wrong with messages on their way from a fake kernel; see ``FakeKernel.misbehave``.

What goes wrong with bytes (half a frame, a wrong key) is its transport's, and ``Rig.garbage``'s.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from reactivex import abc

from enchannel import AnyMessage
from enchannel.testing._fake_kernel import Fault, Send

__all__ = ["delay", "die_after", "drop", "duplicate", "of_type", "silence", "swap"]


def of_type(*msg_types: str) -> Callable[[AnyMessage], bool]:
    """Whether a message is of one of these types; for the faults to choose by."""
    return lambda message: message.header.msg_type in msg_types


def _all(message: AnyMessage) -> bool:
    return True


def drop(chosen: Callable[[AnyMessage], bool] = _all, *, every: int = 1) -> Fault:
    """Lose messages, as a kernel does whose buffers are full.

    Args:
        chosen: Which it may be.
        every: Of these, one in so many.
    """
    if every < 1:
        raise ValueError(f"one message in {every} cannot be dropped")
    seen = 0

    def dropping(message: AnyMessage, say: Send) -> None:
        nonlocal seen
        if chosen(message):
            seen += 1
            if seen % every == 0:
                return
        say(message)

    return dropping


def silence() -> Fault:
    """Send nothing at all."""
    return drop()


def duplicate(chosen: Callable[[AnyMessage], bool] = _all) -> Fault:
    """Send messages twice."""

    def duplicating(message: AnyMessage, say: Send) -> None:
        say(message)
        if chosen(message):
            say(message)

    return duplicating


def swap(chosen: Callable[[AnyMessage], bool] = _all) -> Fault:
    """Send a message after the one that follows it; but never an idle, which nothing might follow."""
    held: deque[AnyMessage] = deque()

    def swapping(message: AnyMessage, say: Send) -> None:
        is_idle = message.content.get("execution_state") == "idle"
        if not held and not is_idle and chosen(message):
            held.append(message)
            return
        say(message)
        while held:
            say(held.popleft())

    return swapping


def delay(
    seconds: float,
    scheduler: abc.SchedulerBase,
    chosen: Callable[[AnyMessage], bool] = _all,
) -> Fault:
    """Send messages later, in their order; those that are not chosen overtake them.

    Args:
        seconds: How much later.
        scheduler: Where time comes from; a virtual one makes a test of it that waits for nothing.
        chosen: Which messages.
    """

    held: deque[AnyMessage] = deque()
    saying = threading.Lock()

    def delaying(message: AnyMessage, say: Send) -> None:
        def due(*_: object) -> None:
            with saying:  # the oldest, whichever timer comes first
                say(held.popleft())

        if chosen(message):
            held.append(message)
            scheduler.schedule_relative(seconds, due)
        else:
            say(message)

    return delaying


def die_after(count: int, die: Callable[[], None]) -> Fault:
    """Die in the middle of what is being said.

    Args:
        count: Messages that are still said.
        die: How: ``rig.cut``, ``remote.die``.
    """
    said = 0

    def dying(message: AnyMessage, say: Send) -> None:
        nonlocal said
        said += 1
        if said <= count:
            say(message)
        elif said == count + 1:
            die()

    return dying
