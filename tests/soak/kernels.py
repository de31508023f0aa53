"""The kernels of a soak: each with a client that launched it, and one that connected to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
from reactivex import Observable

import enchannel as ec
from enchannel._kernel.kernel import parts_of
from tests.soak.journal import Cause, Disturbance, Journal, Violation
from tests.soak.languages import Feature, Language

__all__ = ["HANG_TIMEOUT", "Client", "Place", "SharedKernel", "wait_for"]

HANG_TIMEOUT = 60.0
"""Seconds after which an operation that has not ended counts as hanging."""

ALIVE = frozenset({ec.KernelState.IDLE, ec.KernelState.BUSY, ec.KernelState.SILENT})
LOSSES = (ec.KernelDied, ec.ConnectionLost)
CHANNELS = ("shell", "control", "stdin", "iopub", "main")


def wait_for(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    """Poll a condition; raise Violation if it is not met within the bound."""
    deadline, pause = time.monotonic() + HANG_TIMEOUT, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise Violation(f"{what()}, {HANG_TIMEOUT:g} s long")
        pause.wait(0.01)


@dataclass(frozen=True)
class Place:
    """The place where kernels run: this machine, or a server or relay.

    Attributes:
        at: The URL of the server or relay, or None.
    """

    at: str | None = None

    def launch(self, name: str) -> ec.Kernel:
        """Start a kernel."""
        return ec.launch(name) if self.at is None else ec.launch(name, at=self.at)

    def connect(self, kernel_id: str) -> ec.Kernel:
        """Connect to a running kernel."""
        return ec.connect(kernel_id) if self.at is None else ec.connect(kernel_id, at=self.at)


class Client:
    """One client of a kernel, with subscriptions that stay for as long as it is open.

    Attributes:
        kernel: The kernel.
        name: A name for the journal.
    """

    def __init__(self, kernel: ec.Kernel, name: str, journal: Journal) -> None:
        self.kernel = kernel
        self.name = name
        self._journal = journal
        self._states: list[tuple[float, ec.KernelState]] = []
        self._errors: list[ec.EnchannelError] = []
        self._expected: list[BaseException] = []
        self._ends: dict[str, list[object]] = {}
        self._keep("state", kernel.state, lambda s: self._states.append((time.monotonic(), s)))
        self._keep("link_state", kernel.link_state, lambda _: None)
        self._keep("errors", kernel.errors, self._errors.append)
        self._keep("iopub", kernel.iopub, lambda _: None)
        self._keep("sent", kernel.sent, lambda _: None)
        self._observers = self._observer_counts()

    def expect(self, raised: BaseException) -> None:
        """Note an exception of a subscriber, which the kernel will report."""
        self._expected.append(raised)

    def check_death_visible(self, error: ec.KernelDied, since: float) -> None:
        """Report unless the death of the kernel is visible in its state.

        Args:
            error: The error of a request.
            since: When the request was sent.
        """
        now = self.kernel.state.value
        if now not in ALIVE:
            return
        # It may be alive again. Subscribers of the state get changes in order.
        delivered = threading.Event()
        with self.kernel.state.subscribe(lambda _: delivered.set(), on_completed=delivered.set):
            if not parts_of(self.kernel).subjects.delivery.is_current:
                delivered.wait(HANG_TIMEOUT)
        states = list(self._states)
        # It may have been dead before, and alive again meanwhile.
        first = [state for when, state in states if when < since][-1:]
        later = first + [state for when, state in states if when >= since]
        dead = [index for index, state in enumerate(later) if state not in ALIVE]
        if not dead or not any(state in ALIVE for state in later[dead[0] :]):
            self._journal.report(
                f"{self.name}: {error!r} arrived while the state was {now}; "
                f"its states since the request: {[str(state) for state in later]}"
            )

    def wait_until_answering(self, code: str) -> str:
        """Wait until the kernel runs code, after it was restarted; return the output."""
        deadline, pause = time.monotonic() + HANG_TIMEOUT, threading.Event()
        while True:
            try:
                return self.kernel.run(code, timeout=10).text
            except (*LOSSES, ec.RequestTimeout, ec.RequestAborted, ec.KernelError) as error:
                if time.monotonic() > deadline:
                    raise Violation(
                        f"{self.name} does not answer, {HANG_TIMEOUT:g} s after the kernel was restarted: "
                        f"{error!r}; {self.kernel!r}"
                    ) from error
            pause.wait(0.05)

    def check_rest(self, language: Language, causes: set[Cause]) -> None:
        """Check that nothing is left of the operations of a round.

        Args:
            language: The code of the kernel.
            causes: The causes of failures in this round.
        """
        kernel, name = self.kernel, self.name
        wait_for(
            lambda: kernel.state.value is ec.KernelState.IDLE,
            lambda: f"{name}: the state is {kernel.state.value} after all operations have ended",
        )
        has_own_output = Feature.OWN_OUTPUT in language.features
        registry = parts_of(kernel).requests
        wait_for(
            lambda: not registry.by_id,
            lambda: f"{name}: requests are in flight: {[str(r) for r in registry.by_id.values()]}",
        )
        wait_for(
            lambda: self._observer_counts() == self._observers,
            lambda: f"{name}: {self._observer_counts()} subscribers instead of {self._observers}",
        )
        try:
            text = kernel.run(language.lines("rest", 3), timeout=HANG_TIMEOUT).text
        except ec.EnchannelError as error:
            raise Violation(f"{name}: the first request after a round failed: {error!r}") from error
        if has_own_output and text.split() != ["rest:0", "rest:1", "rest:2"]:
            raise Violation(f"{name}: the first request after a round printed {text!r}")
        self._check_errors(causes)

    def close(self) -> None:
        """Close the kernel, and check that all subscriptions end once."""
        self.kernel.close()
        for name, ends in self._ends.items():
            wait_for(partial(bool, ends), partial("{}.{} did not end".format, self.name, name))
            if len(ends) != 1:
                self._journal.report(f"{self.name}.{name} ended {len(ends)} times: {ends}")

    def _check_errors(self, causes: set[Cause]) -> None:
        errors, self._errors[:] = self._errors[:], []
        for error in errors:
            if isinstance(error, ec.SubscriberRaised) and error.__cause__ in self._expected:
                continue
            if causes & {Cause.DEATH, Cause.CLOSE} and isinstance(
                error, (*LOSSES, ec.MessagesMayBeMissing, ec.ChannelClosed)
            ):
                continue
            self._journal.report(f"{self.name}.errors has {error!r}, with causes {causes}")
        self._expected.clear()

    def _keep(self, name: str, source: Observable[Any], on_next: Callable[[Any], object]) -> None:
        ends = self._ends[name] = []

        def receive(item: Any) -> None:
            if ends:
                self._journal.report(f"{self.name}.{name} emitted {item!r} after its end")
            on_next(item)

        source.subscribe(receive, ends.append, lambda: ends.append("completed"))

    def _observer_counts(self) -> dict[str, int]:
        return {name: getattr(self.kernel, name).observer_count for name in CHANNELS}


class SharedKernel:
    """A kernel, the client that launched it, and one that connected to it.

    Attributes:
        owner, guest: The clients; others after ``relaunch``.
        language: The code that it runs.
        lethal: Held while the process is ended and replaced.
    """

    owner: Client
    guest: Client

    def __init__(self, number: int, language: Language, place: Place, journal: Journal) -> None:
        self.language = language
        self.lethal = threading.Lock()
        self._number = number
        self._place = place
        self._journal = journal
        self._disturbances: list[Disturbance] = []
        self._open()

    def clients(self) -> tuple[Client, Client]:
        """Return both clients."""
        return self.owner, self.guest

    def disturb(self, cause: Cause, operation: str) -> Disturbance:
        """Note a cause of failures, before its action."""
        disturbance = Disturbance(cause, operation)
        self._disturbances.append(disturbance)
        return disturbance

    def causes(self, since: float, *, but: str = "") -> set[Cause]:
        """Return the causes for which an operation may have failed that began at a time.

        Args:
            since: The time.
            but: The id of an operation; its own disturbances do not count.
        """
        return {d.cause for d in self._disturbances if d.ended >= since and d.operation != but}

    def kill(self) -> None:
        """Kill the process."""
        try:
            psutil.Process(self._pid).kill()
        except psutil.NoSuchProcess:
            self._journal.note(f"process {self._pid} has ended already")

    def recover(self) -> None:
        """Restart the process if it is dead, and wait until both clients get answers."""
        kernel = self.owner.kernel
        if kernel.state.value is ec.KernelState.DEAD:
            ec.wait(kernel.restart(), timeout=HANG_TIMEOUT)
        self._set_up()

    def connect(self, name: str) -> Client:
        """Return another client."""
        return Client(self._place.connect(self.owner.kernel.id), name, self._journal)

    def relaunch(self) -> None:
        """Close both clients, which ends the process, and start another."""
        self.close()
        self._open()

    def end_round(self) -> None:
        """Check both clients, and end all disturbances."""
        causes = {disturbance.cause for disturbance in self._disturbances}
        for client in self.clients():
            client.check_rest(self.language, causes)
        self._disturbances.clear()

    def close(self) -> None:
        """Close both clients."""
        self.guest.close()
        self.owner.close()

    def _open(self) -> None:
        name = f"kernel {self._number}"
        owner = self._place.launch(self.language.kernel)
        try:
            guest = self._place.connect(owner.id)
        except BaseException:
            owner.close()
            raise
        self.owner = Client(owner, f"{name}, owner", self._journal)
        self.guest = Client(guest, f"{name}, guest", self._journal)
        self._set_up()

    def _set_up(self) -> None:
        self.owner.wait_until_answering(self.language.setup)
        self.guest.wait_until_answering(self.language.setup)
        self._pid = int(self.owner.wait_until_answering(self.language.pid))
