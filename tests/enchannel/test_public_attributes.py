"""The public attributes of the observables, which live in the namespace of reactivex.

reactivex adds methods to ``Observable`` with each release. A public attribute of ours is a promise, and one
that has the name of such a method replaces it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from reactivex import Observable
from reactivex.subject import Subject

import enchannel as ec
from enchannel._rx.sink_observable import SinkObservable
from enchannel.backends import IncomingSubject
from tests.rigs.scripted import ScriptedLifecycle, ScriptedLink

OF_CHANNEL = {"kernel", "name", "observer_count", "unsent"}
# The attributes that reactivex's Subject does not have.
PUBLIC = {
    "shell": OF_CHANNEL,
    "control": OF_CHANNEL,
    "stdin": OF_CHANNEL,
    "iopub": OF_CHANNEL,
    "main": OF_CHANNEL,
    "heartbeat": {"is_beating", "name", "observer_count", "silent_after", "unsent"},
    "link_state": {"value"},
    "state": {"value"},
    "errors": set(),
    "sent": set(),
    "action": set(),
    "children": set(),
    "comm": {"close", "id", "send", "target_name"},
    "comms": set(),
    "request": set(),
    "reply": set(),
}
OF_SUBJECT = {"dispose", "on_completed", "on_error", "on_next"}
OVERRIDDEN = {"comm": OF_SUBJECT, "heartbeat": OF_SUBJECT, "main": OF_SUBJECT}
OVERRIDDEN |= dict.fromkeys(["shell", "control", "stdin", "iopub"], OF_SUBJECT)


@pytest.fixture(scope="module")
def observables() -> Iterator[dict[str, Observable[object]]]:
    with ScriptedLink(lifecycle=ScriptedLifecycle()).kernel() as kernel:
        names = ("shell", "control", "stdin", "iopub", "main", "heartbeat")
        states = ("link_state", "state", "errors", "sent")
        yield {
            **{name: getattr(kernel, name) for name in (*names, *states)},
            "action": kernel.interrupt(),
            "children": kernel.iopub.pipe(ec.child_of("a")),
            "comm": kernel.comm("echo"),
            "comms": kernel.comms("echo"),
            "request": kernel.execute("1"),
            "reply": kernel.kernel_info(),
        }


def attributes_of(value: object) -> set[str]:
    return {name for name in dir(value) if not name.startswith("_")}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_attributes_are_those_listed(
    observables: dict[str, Observable[object]], name: str
) -> None:
    observable = observables[name]
    base: Observable[object] = Subject() if isinstance(observable, Subject) else Observable()
    assert attributes_of(observable) - attributes_of(base) == PUBLIC[name]


@pytest.mark.parametrize("name", PUBLIC)
def test_class_docstring_names_attributes(
    observables: dict[str, Observable[object]], name: str
) -> None:
    """``help`` shows the docstring before hundreds of methods of reactivex."""
    text = type(observables[name]).__doc__ or ""
    assert [
        attribute for attribute in PUBLIC[name] if not re.search(rf"\b{attribute}\b", text)
    ] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_observables_override_only_subject_methods(
    observables: dict[str, Observable[object]], name: str
) -> None:
    """A new operator of reactivex that has the name of an attribute of ours fails this."""
    observable = observables[name]
    classes = [cls for cls in type(observable).__mro__ if cls.__module__.startswith("enchannel")]
    ours = {attribute for cls in classes for attribute in vars(cls)}
    ours |= vars(observable).keys() - vars(Subject()).keys()
    assert ours & attributes_of(Subject()) == OVERRIDDEN.get(name, set()) | {"run"}


def subclasses_of(cls: type[Any]) -> Iterator[type[Any]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses_of(subclass)


def test_every_class_of_observable_is_listed(observables: dict[str, Observable[object]]) -> None:
    ours = {cls for cls in subclasses_of(Observable) if cls.__module__.startswith("enchannel")}
    listed = {cls for observable in observables.values() for cls in type(observable).__mro__}
    assert {cls.__name__ for cls in ours - listed - {IncomingSubject}} == set()
    assert SinkObservable in listed
