"""The channels that a kernel may lack: heartbeat and stdin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from enchannel import ChannelName
from enchannel_zmq._listener_probe import ListenerProbe

__all__ = ["LOSSES", "OptionalChannels"]

LOSSES: Final = {
    ChannelName.HEARTBEAT: "a kernel that hangs is not reported as silent",
    ChannelName.STDIN: "code cannot call input()",
}
"""The optional channels, and the consequence of a missing one for the user."""


class OptionalChannels:
    """Finds the optional channels on which a kernel does not listen; use it on the I/O thread only.

    A kernel that is starting may not listen yet. So it is tested only once the kernel has handled a
    message, because by then it has bound all its sockets, and the operating system must refuse the
    connection: no clock decides.

    Args:
        make_probe: Returns a test of whether the kernel listens.
        on_absent: Called with each channel that the kernel lacks.
    """

    def __init__(
        self, make_probe: Callable[[], ListenerProbe], on_absent: Callable[[ChannelName], None]
    ) -> None:
        self._on_absent = on_absent
        self._probes = {name: make_probe() for name in LOSSES}
        self._running: set[ChannelName] = set()

    def check(self, names: Iterable[ChannelName]) -> None:
        """Test whether the kernel, which has handled a message, listens on these optional channels."""
        for name in names:
            if name not in self._running:
                self._running.add(name)
                self._probes[name].start(name, partial(self._on_probed, name))

    def cancel(self) -> None:
        """End all tests without a result."""
        self._running.clear()
        for probe in self._probes.values():
            probe.cancel()

    def _on_probed(self, name: ChannelName, is_refused: bool) -> None:
        self._running.discard(name)
        if is_refused:
            self._on_absent(name)
