"""The turn of one cell: its code is sent, and what comes of it is told. It knows no notebook."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from reactivex import abc
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

import enchannel as ec

__all__ = ["Terms", "Turn", "when_all_is_said"]

GRACE = 2.0  # seconds in which code that was interrupted is expected to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds for each cell.

    Attributes:
        kernel: Which runs it.
        timeout: Seconds for it, or None.
        on_input: Answers what it asks; None: it may not ask.
        scheduler: Whose loop everything is called on; None: the kernel's delivery thread.
        late: Where those put their subscriptions who listen until the notebook has ended.
    """

    kernel: ec.Kernel
    timeout: float | None
    on_input: ec.OnInput | None
    scheduler: abc.SchedulerBase | None
    late: CompositeDisposable


class Turn:
    """Runs code, once.

    Args:
        terms: How.
        said: Called with each message of its own that comes by iopub, in order: also with those that come
            after its end, as what other threads print does.
        ended: Called once, with the reply or with what stopped it.
    """

    def __init__(
        self,
        terms: Terms,
        said: Callable[[ec.AnyMessage], None],
        ended: Callable[[ec.AnyMessage | None, Exception | None], None],
    ) -> None:
        self._terms = terms
        self._said = said
        self._ended = ended
        self._reply: ec.AnyMessage | None = None
        self._current = SerialDisposable()
        self._begun = self._idle = False
        self._over = False
        # Each message comes twice: with the request, until that ends, and by itself. On an event loop it
        # is not certain which is first.
        self._ahead: deque[ec.AnyMessage] = deque()
        self._behind = 0

    def begin(self, code: str) -> abc.DisposableBase:
        """Send it. Disposing of what is returned interrupts it."""
        terms, kernel = self._terms, self._terms.kernel
        message = ec.execute_request(
            code,
            stop_on_error=False,  # what others have queued there is not ours to abort
            allow_stdin=terms.on_input is not None,
        )
        try:
            terms.late.add(
                kernel.iopub.pipe(ec.child_of(message)).subscribe(
                    self._by_itself, lambda _: None, scheduler=terms.scheduler
                )
            )
            request = kernel.request(
                message, timeout=terms.timeout, on_dispose="interrupt", on_input=terms.on_input
            )
        except ec.EnchannelError as error:
            self._end(error)
            return self._current
        self._current.disposable = request.subscribe(
            self._with_request, self._failed, self._answered, scheduler=terms.scheduler
        )
        return self._current

    def _with_request(self, message: ec.AnyMessage) -> None:
        if message.channel is ec.ChannelName.IOPUB:
            if self._ahead:
                self._ahead.popleft()
            else:
                self._behind += 1
            if message.header.msg_type == "status":
                self._begun = True
                self._idle = message.content.get("execution_state") == "idle"
            self._said(message)
        elif message.header.msg_type == "execute_reply":
            self._reply = message

    def _by_itself(self, message: ec.AnyMessage) -> None:
        if self._behind:
            self._behind -= 1
        elif self._over:
            self._said(message)
        else:
            self._ahead.append(message)

    def _answered(self) -> None:
        self._end(None)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, ec.RequestTimeout) and self._begun and not self._idle:
            self._stop(error)
        else:
            self._end(error)

    def _stop(self, late: ec.RequestTimeout) -> None:
        """Its time is up. What it says of that, as it is interrupted, belongs to it as well."""
        why = f"the code did not end within {self._terms.timeout:g} s, and was interrupted"
        error = ec.RequestTimeout(why)
        error.__cause__ = late
        try:
            self._terms.kernel.interrupt().subscribe(on_error=lambda _: None)
        except ec.EnchannelError:
            self._end(error)
            return
        self._current.disposable = when_all_is_said(self._terms, GRACE, lambda: self._end(error))

    def _end(self, error: Exception | None) -> None:
        self._over = True
        while self._ahead:
            self._said(self._ahead.popleft())
        self._ended(self._reply, error)


def when_all_is_said(terms: Terms, seconds: float, then: Callable[[], None]) -> abc.DisposableBase:
    """Ask the kernel something small, and go on when it has answered, or when it does not. It answers when
    it is done with what it was asked before, and all that this printed is here then."""
    try:
        asked = terms.kernel.kernel_info(timeout=seconds)
    except ec.EnchannelError:
        then()
        return Disposable()
    return asked.subscribe(on_error=lambda _: then(), on_completed=then, scheduler=terms.scheduler)
