"""Frames that wait to be sent: any thread appends, a task on the event loop sends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from enchannel._protocol.channel_name import ChannelName

__all__ = ["SendQueue"]

FrameT = TypeVar("FrameT")


class SendQueue(Generic[FrameT]):
    """An unbounded queue of frames, each for one connection.

    A frame belongs to the connection for which it was queued. When the next one has been opened, frames
    left over from the previous one are dropped instead of sent.

    Args:
        call: Calls a function on the event loop, from any thread.

    Attributes:
        generation: Number of the connection; read it before a message is encoded and queued.
    """

    def __init__(self, call: Callable[[Callable[[], object]], None]) -> None:
        self.generation = 0
        self._call = call
        self._frames: deque[tuple[ChannelName, int, FrameT]] = deque()
        self._wakeup = asyncio.Event()
        self._wakeup_requested = False
        self._all_sent = asyncio.Event()

    # -- any thread -------------------------------------------------------------------------------

    def put(self, channel: ChannelName, generation: int, frame: FrameT) -> None:
        """Append a frame.

        Raises:
            RuntimeError: The event loop is closed.
        """
        self._frames.append((channel, generation, frame))
        # The sender resets this before it looks at the queue, so it either sees the frame or is woken up.
        if not self._wakeup_requested:
            self._wakeup_requested = True
            self._call(self._wakeup.set)

    def count(self, channel: ChannelName) -> int:
        """Return how many frames of a channel wait."""
        return sum(waiting is channel for waiting, _, _ in list(self._frames))

    # -- event loop -------------------------------------------------------------------------------

    def clear(self) -> None:
        """Drop all frames."""
        self._frames.clear()

    async def send_all(self, send: Callable[[FrameT], Awaitable[None]]) -> None:
        """Send frames of the current generation as they are queued, until cancelled or ``send`` raises."""
        frames = self._frames
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            self._wakeup_requested = False
            while frames:
                _, generation, frame = first = frames[0]
                if generation == self.generation:
                    await send(frame)
                # The queue may have been cleared meanwhile.
                if frames and frames[0] is first:
                    frames.popleft()
            self._all_sent.set()

    async def wait_until_empty(self) -> None:
        """Wait until ``send_all`` has sent all frames."""
        while self._frames:
            self._all_sent.clear()
            await self._all_sent.wait()
