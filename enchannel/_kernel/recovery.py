"""What was asked before a link was lost, once it is back.

A kernel answers in order what it is asked on one channel (and subshell). So it is asked again, something
small; when that is answered, and what was asked before is not, it never will be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from enchannel._kernel.in_flight import InFlightRequest, Request, RequestOptions
from enchannel._kernel.requests import DEFAULT_TIMEOUT
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel.errors import ConnectionLost
from enchannel.messages import kernel_info_request

if TYPE_CHECKING:
    from enchannel._kernel.kernel import Kernel

__all__ = ["recover"]


def recover(kernel: Kernel) -> None:
    """Ask again where something is open; what turns out to be lost ends in ``ConnectionLost``."""
    open_on: dict[tuple[ChannelName, str | None], list[InFlightRequest]] = defaultdict(list)
    for exchange in list(kernel._exchanges.values()):
        exchange.resume()
        open_on[exchange.place].append(exchange)
    for (channel, subshell), exchanges in open_on.items():
        message: AnyMessage = kernel_info_request(channel=channel)
        if subshell is not None:
            message = message.replace(header=replace(message.header, subshell_id=subshell))
        # Code may run for as long as it likes before it is answered on shell; control has no queue.
        timeout = DEFAULT_TIMEOUT if channel is ChannelName.CONTROL else None
        asked = Request(kernel, message, RequestOptions(timeout=timeout))
        asked.attach(_Known(lambda those=exchanges: _lost(kernel, those)))  # type: ignore[misc]
    if not open_on:
        kernel._forget_busy(())


def _lost(kernel: Kernel, exchanges: list[InFlightRequest]) -> None:
    for exchange in exchanges:
        exchange.fail(
            ConnectionLost(
                f"the link broke while {exchange} was open, and it, or its answer, was lost with it"
            )
        )
    kernel._forget_busy(exchange.id for exchange in exchanges)


class _Known:
    """A sink that calls a function when a request has ended, however."""

    def __init__(self, settle: Callable[[], None]) -> None:
        self._settle = settle

    def on_next(self, message: AnyMessage) -> None: ...

    def on_error(self, error: Exception) -> None:
        self._settle()

    def on_completed(self) -> None:
        self._settle()

    def call(self, function: Callable[[], None]) -> None: ...
