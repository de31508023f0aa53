"""The code that operations run, by language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["ECHO_TARGET", "LANGUAGES", "Feature", "Language"]

ECHO_TARGET = "soak.echo"

PYTHON_SETUP = f"""
import asyncio, os, time
def _echo(comm, opened):
    comm.on_msg(lambda message: comm.send(message["content"]["data"]))
get_ipython().kernel.comm_manager.register_target({ECHO_TARGET!r}, _echo)
"""


class Feature(Enum):
    """A feature of a kernel that some operations and checks need.

    CONTROL: requests on control end with an idle status. FAILURE: the reply tells that code raised, also
    while other code prints. OWN_OUTPUT: the output of a request has this request as its parent.
    """

    COMM = auto()
    CONTROL = auto()
    DISPLAY = auto()
    FAILURE = auto()
    INPUT = auto()
    INTERRUPT = auto()
    OWN_OUTPUT = auto()
    SUBSHELL = auto()


@dataclass(frozen=True, kw_only=True)
class Language:
    """The code of one kernel, and the features that it has.

    Attributes:
        kernel: The name of the kernelspec.
        setup: Code that a new process runs first.
        pid: Code that prints the id of the process.
        lines: Returns code that prints so many lines, each with a token and its number.
        endless: Code that runs until it is interrupted.
        failing: Code that raises an exception.
        interruptions: The names of the exceptions of interrupted code.
        features: The features of the kernel.
    """

    kernel: str
    setup: str
    pid: str
    lines: Callable[[str, int], str]
    endless: tuple[str, ...]
    failing: str
    interruptions: frozenset[str]
    features: frozenset[Feature]


def _python(kernel: str, *features: Feature, setup: str = "import asyncio, os, time") -> Language:
    return Language(
        kernel=kernel,
        setup=setup,
        pid="import os; print(os.getpid())",
        lines=lambda token, count: f"for _i in range({count}): print(f'{token}:{{_i}}')",
        endless=(
            "while True: pass",
            # Not in one sleep: CPython has a moment, just before it blocks, in which a signal does not
            # wake it up.
            "while True: time.sleep(0.05)",
        ),
        failing="1 / 0",
        interruptions=frozenset({"KeyboardInterrupt"}),
        features=frozenset(features),
    )


_BASH = Language(
    kernel="bash",
    setup="true",
    pid="echo $$",
    lines=lambda token, count: f'for i in $(seq 0 {count - 1}); do echo "{token}:$i"; done',
    endless=("while true; do :; done", "sleep 600"),
    failing="false",
    interruptions=frozenset({"", "KeyboardInterrupt"}),
    features=frozenset({Feature.CONTROL, Feature.FAILURE, Feature.INTERRUPT, Feature.OWN_OUTPUT}),
)

_DENO = Language(
    kernel="deno",
    setup="0;",
    pid="console.log(Deno.pid);",
    lines=lambda token, count: f"for (let i = 0; i < {count}; i++) console.log(`{token}:${{i}}`);",
    endless=("while (true) {}",),
    failing="throw new Error('failed');",
    interruptions=frozenset(),
    features=frozenset(),
)

LANGUAGES: Mapping[str, Language] = {
    language.kernel: language
    for language in (
        _python("python3", *Feature, setup=PYTHON_SETUP),
        _python(
            "ipykernel6",
            *(set(Feature) - {Feature.SUBSHELL}),
            setup=PYTHON_SETUP,
        ),
        _python(
            "xpython",
            *(Feature.CONTROL, Feature.DISPLAY, Feature.INTERRUPT, Feature.OWN_OUTPUT),
        ),
        _BASH,
        _DENO,
    )
}
"""The languages, by the name of their kernelspec."""
