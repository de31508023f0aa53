"""A second shell of a kernel, for requests that do not wait for the code that runs."""

from __future__ import annotations

from types import TracebackType
from typing import Literal, Self

from msgspec.structs import replace
from reactivex import Observable

from enchannel._kernel.in_flight import DEFAULT_TIMEOUT
from enchannel._kernel.requests import Requests
from enchannel._kernel.stdin import OnInput
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._rx.sink import Reporter
from enchannel._rx.waiting import last_value, wait
from enchannel.errors import EnchannelError, NotSupported
from enchannel.messages import create_subshell_request, delete_subshell_request

__all__ = ["Subshell"]

FEATURE = "kernel subshells"


class Subshell(Requests):
    """A view of a kernel whose shell requests run in a subshell: beside the main one, in a thread
    of the kernel's. Made on entering its block and deleted on leaving it.

    Attributes:
        id: What the kernel calls it; empty before the block is entered.
    """

    def __init__(self, requests: Requests, report: Reporter) -> None:
        self._requests = requests
        self._report = report
        self.id: str = ""

    def request(
        self,
        message: AnyMessage,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        idle_grace: float | None = None,
        on_dispose: Literal["interrupt"] | None = None,
        on_input: OnInput | None = None,
    ) -> Observable[AnyMessage]:
        if not self.id:
            raise NotSupported("this subshell is not there: it lives within its `with` block")
        if message.channel is ChannelName.SHELL:
            message = message.replace(header=replace(message.header, subshell_id=self.id))
        return self._requests.request(
            message,
            timeout=timeout,
            idle_grace=idle_grace,
            on_dispose=on_dispose,
            on_input=on_input,
        )

    def __enter__(self) -> Self:
        _raise_if_unsupported(wait(self._requests.kernel_info()))
        self.id = _created(wait(self._requests.request(create_subshell_request())))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        request, self.id = delete_subshell_request(self.id), ""
        try:
            wait(self._requests.request(request))
        except EnchannelError as failed:
            self._report(failed)

    async def __aenter__(self) -> Self:
        _raise_if_unsupported(await last_value(self._requests.kernel_info()))
        self.id = _created(await last_value(self._requests.request(create_subshell_request())))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        request, self.id = delete_subshell_request(self.id), ""
        try:
            await last_value(self._requests.request(request))
        except EnchannelError as failed:
            self._report(failed)


def _raise_if_unsupported(info: AnyMessage) -> None:
    if FEATURE not in (info.content.get("supported_features") or ()):
        name = info.content.get("implementation") or "this kernel"
        raise NotSupported(f"{name} has no subshells: it does not advertise them")


def _created(reply: AnyMessage) -> str:
    subshell_id = reply.content.get("subshell_id")
    if reply.content.get("status", "ok") != "ok" or not isinstance(subshell_id, str):
        raise NotSupported(f"the kernel made no subshell: {reply.content.get('evalue') or 'no id'}")
    return subshell_id
