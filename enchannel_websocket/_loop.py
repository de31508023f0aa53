"""The event-loop thread that all WebSocket links of the process share."""

from __future__ import annotations

from enchannel.backends import EventLoopThread, SharedResource

__all__ = ["loops"]


def _make_loop() -> EventLoopThread:
    return EventLoopThread("enchannel-websocket I/O")


loops = SharedResource(_make_loop)
