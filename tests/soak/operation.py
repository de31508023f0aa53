"""One operation: its random choices, its subscriptions, and the errors that it may meet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, TypeVar

from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler import TimeoutScheduler

import enchannel as ec
from enchannel.messages import kernel_info_request
from tests.soak.journal import Cause, Disturbance, Journal, Violation
from tests.soak.kernels import HANG_TIMEOUT, Client, SharedKernel
from tests.soak.languages import Feature, Language

__all__ = ["Attempt", "Operation", "Tracked", "stream_text"]

T = TypeVar("T")

STARTERS = ("thread", "timer thread", "delivery thread")
EXCUSES: Mapping[type[ec.EnchannelError], frozenset[Cause]] = {
    ec.RequestAborted: frozenset({Cause.ERROR, Cause.INTERRUPT, Cause.DEATH}),
    # A client that is closed shuts down the kernel of the other one.
    ec.KernelDied: frozenset({Cause.DEATH, Cause.CLOSE}),
    ec.ConnectionLost: frozenset({Cause.DEATH, Cause.CLOSE}),
    ec.ChannelClosed: frozenset({Cause.CLOSE}),
    ec.ConnectionFailed: frozenset({Cause.DEATH, Cause.CLOSE}),
    # A kernel that is interrupted while it sends a reply may not send it.
    ec.RequestTimeout: frozenset({Cause.INTERRUPT}),
    ec.MessagesMayBeMissing: frozenset({Cause.DEATH, Cause.CLOSE}),
}
"""The causes for which an operation may fail with an error that it does not expect itself."""


@dataclass
class Attempt:
    """A part of an operation that may fail.

    Attributes:
        error: The allowed error that it ended with, or None.
    """

    error: BaseException | None = None


class Operation:
    """The context of one operation.

    Attributes:
        id: Identifies it, and determines its choices together with the seed.
        began: When it began.
        token: A text that no other operation prints.
        rng: Its random choices.
        shared: The kernel with all its clients.
        client: The client that it uses.
        kernel: The kernel of that client.
    """

    client: Client
    kernel: ec.Kernel

    def __init__(
        self, name: str, key: str, seed: int, shared: SharedKernel, journal: Journal
    ) -> None:
        self.id = f"{key} {name}"
        self.token = f"<{key}>"
        self.rng = Random(f"{seed} {key}")
        self.shared = shared
        self.use(self.rng.choice(shared.clients()))
        self._name = name
        self.began = time.monotonic()
        self._deaths: list[ec.KernelDied] = []
        self._journal = journal

    def use(self, client: Client) -> None:
        """Use another client from now on."""
        self.client = client
        self.kernel = client.kernel

    def connect(self) -> Client:
        """Return a new client of the same kernel, which the operation closes."""
        return self.shared.connect(f"{self.id}, new client")

    @property
    def language(self) -> Language:
        """The code that the kernel runs."""
        return self.shared.language

    def note(self, text: str) -> None:
        """Add a line to the journal."""
        self._journal.note(f"{self.id} at {self.client.name}: {text}")

    def report(self, text: str) -> None:
        """Report a violation."""
        self._journal.report(f"{self.id} at {self.client.name}: {text}")

    def disturb(self, cause: Cause) -> Disturbance:
        """Note that this operation makes others fail; call it before its action."""
        return self.shared.disturb(cause, self.id)

    def settle(self, *disturbances: Disturbance) -> None:
        """End disturbances by code, once the kernel has answered a request behind that code."""
        with self.judged():
            ec.wait(self.kernel.kernel_info(timeout=None))
        for disturbance in disturbances:
            disturbance.end()

    @contextmanager
    def judged(
        self,
        *expected: type[BaseException],
        by_itself: Iterable[Cause] = (),
        since: float | None = None,
    ) -> Iterator[Attempt]:
        """Suppress an error that the block may raise, and report any other.

        Args:
            expected: Errors that the block itself causes.
            by_itself: Causes for which this operation is responsible, and that excuse its errors.
            since: When the request was sent; now by default.
        """
        attempt = Attempt()
        since = time.monotonic() if since is None else since
        try:
            yield attempt
            self._journal.count(f"{self._name}: ok")
        except Violation:
            raise
        except BaseException as error:
            self._journal.count(f"{self._name}: {type(error).__name__}")
            attempt.error = error
            self.judge(error, since, expected, by_itself)

    def judge(
        self,
        error: BaseException,
        since: float,
        expected: tuple[type[BaseException], ...] = (),
        by_itself: Iterable[Cause] = (),
    ) -> None:
        """Report an error unless something explains it that happened since a time."""
        self.note(f"failed: {error!r}")
        if isinstance(error, ec.KernelDied):
            self.check_death(error, self.client, since)
        if isinstance(error, expected):
            return
        # ipykernel has one flag for all its subshells, which a request of another one may clear.
        if isinstance(error, ec.KernelError) and error.ename == "StdinNotImplementedError":
            return
        causes = self.shared.causes(since, but=self.id) | set(by_itself)
        if isinstance(error, ec.KernelError) and error.ename in self.language.interruptions:
            excuses = frozenset({Cause.INTERRUPT, Cause.DEATH, Cause.CLOSE})
        else:
            excuses = frozenset[Cause]().union(
                *(found for kind, found in EXCUSES.items() if isinstance(error, kind))
            )
        if not causes & excuses:
            names = sorted(cause.name for cause in causes)
            self.report(f"unexpected {type(error).__name__}: {error}; causes: {names}")

    def check_death(self, error: ec.KernelDied, client: Client, since: float) -> None:
        """Check once that an error came after the state of its kernel; later, the state may change."""
        if not any(checked is error for checked in self._deaths):
            self._deaths.append(error)
            client.check_death_visible(error, since)

    def lines(self, count: int) -> str:
        """Return code that prints numbered lines with the token."""
        return self.language.lines(self.token, count)

    def check_lines(self, text: str, count: int, how: str) -> None:
        """Report unless a text is exactly the lines of this operation."""
        if Feature.OWN_OUTPUT not in self.language.features:
            return
        expected = "".join(f"{self.token}:{number}\n" for number in range(count))
        if text != expected:
            self.report(f"{how} has {_shortened(text)} instead of {count} lines")

    def check(self, condition: object, text: str) -> None:
        """Report unless a condition holds."""
        if not condition:
            self.report(text)

    def start(self, function: Callable[[], T]) -> T:
        """Call a function on a random kind of thread, and return its result."""
        has_control = Feature.CONTROL in self.language.features
        starter = self.rng.choice(STARTERS if has_control else STARTERS[:2])
        self.note(f"starts on a {starter}")
        if starter == "thread":
            return function()
        future: Future[T] = Future()

        def call(*_: object) -> None:
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)

        if starter == "timer thread":
            TimeoutScheduler.singleton().schedule(call)
        else:
            # Not on shell, where endless code may run.
            request = kernel_info_request(channel=ec.ChannelName.CONTROL)
            self.kernel.request(request).pipe(ops.last()).subscribe(call, future.set_exception)
        return future.result(HANG_TIMEOUT)


class Tracked(Generic[T]):
    """A subscription that may end once, and after which nothing may arrive.

    Args:
        operation: The operation that subscribes.
        observable: The observable.
        dispose_after: The number of items after which the subscription is disposed of; None: never.
        scheduler: As for ``subscribe``.

    Attributes:
        items: The items that arrived.
        error: The error that it ended with.
        has_completed: True once it has completed.
        is_disposed: True once it was disposed of.
    """

    def __init__(
        self,
        operation: Operation,
        observable: Observable[T],
        *,
        dispose_after: int | None = None,
        scheduler: abc.SchedulerBase | None = None,
    ) -> None:
        self.items: list[T] = []
        self.error: Exception | None = None
        self.has_completed = False
        self.is_disposed = False
        self._operation = operation
        self._client = operation.client
        self._since = time.monotonic()
        self._dispose_after = dispose_after
        self._changed = threading.Condition()
        self._disposed_on: int | None = None
        self._subscription = SingleAssignmentDisposable()
        self._subscription.disposable = observable.subscribe(
            self._on_next, self._on_error, self._on_completed, scheduler=scheduler
        )
        if dispose_after == 0:
            self.dispose()

    @property
    def has_ended(self) -> bool:
        """True once it has completed or failed."""
        return self.has_completed or self.error is not None

    def dispose(self) -> None:
        """Dispose of the subscription."""
        self._disposed_on = threading.get_ident()
        self._subscription.dispose()
        with self._changed:
            self.is_disposed = True
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until it has ended or was disposed of; raise its error."""
        self._wait(lambda: self.has_ended or self.is_disposed, "did not end")
        if self.error is not None:
            raise self.error

    def wait_for_items(self, count: int) -> None:
        """Wait until so many items have arrived, or until it has ended."""
        self._wait(lambda: self.has_ended or len(self.items) >= count, "emitted nothing more")

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end for some time; return True if it has ended."""
        with self._changed:
            return self._changed.wait_for(lambda: self.has_ended, seconds)

    def _wait(self, condition: Callable[[], bool], failure: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, HANG_TIMEOUT):
                raise Violation(
                    f"{self._operation.id}: a subscription with {len(self.items)} items {failure} "
                    f"within {HANG_TIMEOUT:g} s"
                )

    def _on_next(self, item: T) -> None:
        self._check_open(item)
        with self._changed:
            self.items.append(item)
            count = len(self.items)
            self._changed.notify_all()
        if count == self._dispose_after:
            self.dispose()

    def _on_error(self, error: Exception) -> None:
        self._check_open(error)
        if isinstance(error, ec.KernelDied):
            self._operation.check_death(error, self._client, self._since)
        with self._changed:
            self.error = error
            self._changed.notify_all()

    def _on_completed(self) -> None:
        self._check_open("its completion")
        with self._changed:
            self.has_completed = True
            self._changed.notify_all()

    def _check_open(self, event: object) -> None:
        if self.has_ended:
            self._operation.report(f"a subscription that had ended emitted {event!r}")
        # On another thread, an event may be on its way while the subscription is disposed of.
        if self._disposed_on == threading.get_ident():
            self._operation.report(f"a subscription that was disposed of emitted {event!r}")


def stream_text(outputs: Iterable[Mapping[str, Any]]) -> str:
    """Return the joined text of stdout; kernels write warnings of their own to stderr."""
    return "".join(output["text"] for output in outputs if output.get("name") == "stdout")


def _shortened(text: str) -> str:
    return repr(text) if len(text) < 200 else f"{text[:90]!r} … {text[-90:]!r} ({len(text)})"
