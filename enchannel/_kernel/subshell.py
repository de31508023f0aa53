"""A second shell of a kernel, whose requests do not wait for code that runs in the main shell."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from msgspec.structs import replace
from reactivex import Observable

from enchannel._kernel.in_flight import DEFAULT_TIMEOUT
from enchannel._kernel.remaining_output import Queue
from enchannel._kernel.requests import Requests
from enchannel._kernel.stdin import OnInput
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage
from enchannel._rx.sink import Reporter
from enchannel._rx.waiting import last_value, refuse_to_block, wait
from enchannel.errors import ChannelClosed, EnchannelError, NotSupported
from enchannel.messages import create_subshell_request, delete_subshell_request

__all__ = ["Subshell"]

SUBSHELL_FEATURE = "kernel subshells"


class Subshell(Requests):
    """A subshell of a kernel: its shell requests run in a thread beside the main shell.

    It is created on entering its block and deleted on leaving it, when its code has ended; requests without
    a reply fail with ChannelClosed then. Its code cannot be interrupted: a kernel interrupts the main shell
    only. Made by ``Kernel.subshell`` only.

    Attributes:
        id: The id that the kernel assigned; empty outside the block.
    """

    def __init__(
        self,
        requests: Requests,
        report: Reporter,
        fail_queue: Callable[[Queue, Exception], None],
    ) -> None:
        self._requests = requests
        self._report = report
        self._fail_queue = fail_queue
        self.id: str = ""

    def request(
        self,
        message: AnyMessage,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        idle_grace: float | None = None,
        interrupt_if_abandoned: bool = False,
        on_input: OnInput | None = None,
    ) -> Observable[AnyMessage]:
        if not self.id:
            raise NotSupported("this subshell is not open; use it inside its `with` block")
        if message.channel is ChannelName.SHELL:
            message = message.replace(header=replace(message.header, subshell_id=self.id))
        return self._requests.request(
            message,
            timeout=timeout,
            idle_grace=idle_grace,
            interrupt_if_abandoned=interrupt_if_abandoned,
            on_input=on_input,
        )

    def __enter__(self) -> Self:
        refuse_to_block(
            "a subshell with `with`",
            "write `async with kernel.subshell() as subshell`",
            "use it in another thread",
        )
        _raise_if_unsupported(wait(self._requests.kernel_info()))
        self.id = _id_from(wait(self._requests.request(create_subshell_request())))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        deleted, self.id = self.id, ""
        try:
            wait(self._requests.request(delete_subshell_request(deleted)))
        except EnchannelError as failed:
            self._report(failed)
        else:
            self._on_deleted(deleted)

    async def __aenter__(self) -> Self:
        _raise_if_unsupported(await last_value(self._requests.kernel_info()))
        self.id = _id_from(await last_value(self._requests.request(create_subshell_request())))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        deleted, self.id = self.id, ""
        try:
            await last_value(self._requests.request(delete_subshell_request(deleted)))
        except EnchannelError as failed:
            self._report(failed)
        else:
            self._on_deleted(deleted)

    def _on_deleted(self, subshell_id: str) -> None:
        # ipykernel drops the replies of a subshell that it deletes.
        error = ChannelClosed(
            "the subshell was left before the reply arrived; wait for requests inside its `with` block"
        )
        self._fail_queue((ChannelName.SHELL, subshell_id), error)


def _raise_if_unsupported(info: AnyMessage) -> None:
    if SUBSHELL_FEATURE not in (info.content.get("supported_features") or ()):
        name = info.content.get("implementation") or "this kernel"
        raise NotSupported(f"{name} does not support subshells")


def _id_from(reply: AnyMessage) -> str:
    subshell_id = reply.content.get("subshell_id")
    if reply.content.get("status", "ok") != "ok" or not isinstance(subshell_id, str):
        raise NotSupported(
            f"creating a subshell failed: {reply.content.get('evalue') or 'the reply has no id'}"
        )
    return subshell_id
