"""The rounds of a soak, and the checks after each."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random

from tests.soak import task_operations, thread_operations
from tests.soak.catalog import COROUTINES, FUNCTIONS, Entry, Group, matching
from tests.soak.journal import Journal, Violation
from tests.soak.kernels import HANG_TIMEOUT, Place, SharedKernel
from tests.soak.languages import LANGUAGES, Language
from tests.soak.operation import Operation

__all__ = ["Plan", "Soak"]

# Imported for the operations that they register.
_ = (task_operations, thread_operations)

ROUND_TIMEOUT = HANG_TIMEOUT * 2
CALM = frozenset({Group.CALM})
# The groups of an actor; most rounds have actors of several kinds.
KINDS = {
    "calm": CALM,
    "fail": CALM | {Group.FAIL},
    "stop": CALM | {Group.STOP},
    "end": frozenset({Group.END}),
    "any": frozenset({Group.CALM, Group.FAIL, Group.STOP}),
}
ROUNDS: Sequence[tuple[str, ...]] = (
    ("calm",) * 6,
    ("stop",),
    ("stop", "calm", "calm"),
    ("stop", "stop", "stop", "calm"),
    ("fail", "calm", "calm"),
    ("fail", "stop", "any", "any"),
    ("end", "calm", "calm", "calm"),
    ("end", "stop", "any", "any"),
    ("any",) * 6,
)
"""The kinds of the actors of a round."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The operations of a soak, and their kernels.

    Attributes:
        seed: Determines all operations.
        kernel: The name of the kernelspec.
        place: Where kernels are launched.
        kernel_count: The number of kernels.
        operations: Operations of each actor in a round.
        groups: The groups of operations; others are not performed.
        only: The names of operations; others are not performed. Empty: all.
    """

    seed: int
    kernel: str = "python3"
    place: Place = Place()
    kernel_count: int = 2
    operations: int = 4
    groups: frozenset[Group] = frozenset(Group)
    only: frozenset[str] = frozenset()

    @property
    def language(self) -> Language:
        """The code of the kernels."""
        return LANGUAGES[self.kernel]


@dataclass(frozen=True)
class Step:
    """An operation that will be performed.

    Attributes:
        entry: The operation.
        key: Determines its choices.
        shared: The kernel.
    """

    entry: Entry
    key: str
    shared: SharedKernel


class Hanging(Violation):
    """Raised when operations do not end; the kernels cannot be used further."""


class Soak:
    """Kernels, and the rounds that are performed on them; use it with ``with``."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self._plan = plan
        self._journal = journal
        self._kernels: list[SharedKernel] = []
        self._owned = ExitStack()

    def __enter__(self) -> Soak:
        with ExitStack() as owned:
            owned.enter_context(_reporting(self._journal))
            for number in range(self._plan.kernel_count):
                shared = SharedKernel(number, self._plan.language, self._plan.place, self._journal)
                owned.callback(shared.close)
                self._kernels.append(shared)
            self._owned = owned.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()
        gc.collect()

    def perform(self, number: int) -> bool:
        """Perform one round; return False if an invariant did not hold."""
        seen = len(self._journal.violations)
        rng = Random(f"{self._plan.seed} {number}")
        kinds = rng.choice(ROUNDS)
        self._journal.note(f"round {number}: {', '.join(kinds)}")
        actors: list[Callable[[], None]] = []
        tasks: list[list[Step]] = []
        for actor, kind in enumerate(kinds):
            key = f"{number}.{actor}"
            if kind != "end" and rng.random() < 0.4:
                tasks.append(self._choose(COROUTINES, kind, key))
            else:
                actors.append(partial(self._perform_in_thread, self._choose(FUNCTIONS, kind, key)))
        if tasks:
            actors.append(lambda: asyncio.run(self._perform_on_loop(tasks)))
        try:
            _join([self._thread(actor, f"actor {index}") for index, actor in enumerate(actors)])
            for shared in self._kernels:
                shared.end_round()
        except Violation as violation:
            self._journal.report(str(violation))
        return len(self._journal.violations) == seen

    def _choose(self, entries: Sequence[Entry], kind: str, key: str) -> list[Step]:
        plan = self._plan
        rng = Random(f"{plan.seed} {key}")
        choices = matching(entries, KINDS[kind] & plan.groups, plan.language, plan.only)
        if not choices:
            return []
        own = [entry for entry in choices if entry.group is not Group.CALM] or choices
        count = max(1, plan.operations // 4) if kind == "end" else plan.operations
        chosen = [rng.choice(own if rng.random() < 0.6 else choices) for _ in range(count)]
        return [
            Step(entry, f"{key}.{index}", rng.choice(self._kernels))
            for index, entry in enumerate(chosen)
        ]

    def _perform_in_thread(self, steps: Sequence[Step]) -> None:
        for step in steps:
            op = self._begin(step)
            if step.entry.function is not None:
                step.entry.function(op)
                op.note("ends")

    async def _perform_on_loop(self, tasks: Sequence[Sequence[Step]]) -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: self._journal.report(f"on the event loop: {context}")
        )

        async def perform(steps: Sequence[Step]) -> None:
            for step in steps:
                op = self._begin(step)
                if step.entry.coroutine is not None:
                    await step.entry.coroutine(op)
                    op.note("ends")

        await asyncio.gather(*(perform(steps) for steps in tasks))
        gc.collect()
        # Python closes a dropped iterator in a task of its own.
        for _ in range(3):
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            self._journal.report(f"tasks are left on the event loop: {left}")

    def _begin(self, step: Step) -> Operation:
        op = Operation(step.entry.name, step.key, self._plan.seed, step.shared, self._journal)
        op.note("begins")
        return op

    def _thread(self, function: Callable[[], None], name: str) -> threading.Thread:
        def run() -> None:
            try:
                function()
            except Violation as violation:
                self._journal.report(str(violation))
            except BaseException as error:
                text = "".join(traceback.format_exception(error))
                self._journal.report(f"{name} ended with an error:\n{text}")

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread


def _join(threads: Sequence[threading.Thread]) -> None:
    deadline = time.monotonic() + ROUND_TIMEOUT
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    hanging = [thread.name for thread in threads if thread.is_alive()]
    if hanging:
        raise Hanging(f"{hanging} did not end within {ROUND_TIMEOUT:g} s:\n{_stacks()}")


def _stacks() -> str:
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()


class _Reporter(logging.Handler):
    """Reports errors that asyncio logs, and adds the log of enchannel to the journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.name} logged: {record.getMessage()}"
        if record.name == "asyncio" and record.levelno >= logging.ERROR:
            self._journal.report(text)
        else:
            self._journal.note(text)


@contextmanager
def _reporting(journal: Journal) -> Iterator[None]:
    """Report exceptions that no caller gets: of threads, finalizers and event loops."""
    before = threading.excepthook, sys.unraisablehook
    threading.excepthook = lambda args: journal.report(
        f"{args.thread and args.thread.name} raised {args.exc_value!r}"
    )
    sys.unraisablehook = lambda args: journal.report(
        f"{args.object!r} raised {args.exc_value!r} ({args.err_msg})"
    )
    handler = _Reporter(journal)
    loggers = [logging.getLogger(name) for name in ("asyncio", "enchannel")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = before
        for logger in loggers:
            logger.removeHandler(handler)
