"""Faults that lose, repeat, delay or reorder the messages of a ``FakeKernel``.

Pass them to ``FakeKernel.inject_faults``. Damaged frames and wrong keys are up to the transport: see
``Rig.garbage``.
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
    """Return a condition that is true for messages of these types."""
    return lambda message: message.header.msg_type in msg_types


def _all(message: AnyMessage) -> bool:
    return True


def drop(chosen: Callable[[AnyMessage], bool] = _all, *, every: int = 1) -> Fault:
    """Drop messages, as a kernel does when its buffers are full.

    Args:
        chosen: The messages that may be dropped; all by default.
        every: Drop every nth of them.

    Raises:
        ValueError: ``every`` is less than 1.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1, not {every}")
    seen = 0

    def dropping(message: AnyMessage, send: Send) -> None:
        nonlocal seen
        if chosen(message):
            seen += 1
            if seen % every == 0:
                return
        send(message)

    return dropping


def silence() -> Fault:
    """Drop all messages."""
    return drop()


def duplicate(chosen: Callable[[AnyMessage], bool] = _all) -> Fault:
    """Send each chosen message twice."""

    def duplicating(message: AnyMessage, send: Send) -> None:
        send(message)
        if chosen(message):
            send(message)

    return duplicating


def swap(chosen: Callable[[AnyMessage], bool] = _all) -> Fault:
    """Swap each chosen message with the next one; never an idle, which may be the last."""
    held: deque[AnyMessage] = deque()

    def swapping(message: AnyMessage, send: Send) -> None:
        is_idle = message.content.get("execution_state") == "idle"
        if not held and not is_idle and chosen(message):
            held.append(message)
            return
        send(message)
        while held:
            send(held.popleft())

    return swapping


def delay(
    seconds: float,
    scheduler: abc.SchedulerBase,
    chosen: Callable[[AnyMessage], bool] = _all,
) -> Fault:
    """Send the chosen messages later, in their order; the others overtake them.

    Args:
        seconds: The delay.
        scheduler: The clock; with a virtual one, the test does not wait.
        chosen: The messages to delay; all by default.
    """

    held: deque[AnyMessage] = deque()
    sending = threading.Lock()

    def delaying(message: AnyMessage, send: Send) -> None:
        def due(*_: object) -> None:
            # Timers may fire in any order; the oldest message is sent first.
            with sending:
                send(held.popleft())

        if chosen(message):
            held.append(message)
            scheduler.schedule_relative(seconds, due)
        else:
            send(message)

    return delaying


def die_after(count: int, die: Callable[[], None]) -> Fault:
    """Call a function in place of sending any further message.

    Args:
        count: The number of messages that are sent before.
        die: The function, such as ``kernel.die`` of an ``InMemoryKernel`` or ``rig.disconnect``.
    """
    sent = 0

    def dying(message: AnyMessage, send: Send) -> None:
        nonlocal sent
        sent += 1
        if sent <= count:
            send(message)
        elif sent == count + 1:
            die()

    return dying
