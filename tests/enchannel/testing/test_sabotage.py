"""The suite catches a backend that breaks a rule, whichever it is."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import enchannel.abc
from enchannel.testing import BackendSuite, _collector
from tests.enchannel.testing.sabotage import SABOTAGES, Sabotage, SabotagedRig, clean_up
from tests.rigs import DEADLINE

RULES = {int(number) for number in re.findall(r"^ {4}(\d+)\. ", enchannel.abc.__doc__ or "", re.M)}
SOON = 0.3  # seconds: what a sabotaged backend owes never comes, and is waited for so long


def checks_of(rule: int) -> list[str]:
    return [name for name in dir(BackendSuite) if name.startswith(f"test_b{rule:02}_")]


Fixtures = dict[str, Any]


@pytest.fixture
def fixtures(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Fixtures:
    """What tests of the suite ask for beside the rig."""
    return {"caplog": caplog, "capfd": capfd}


def outcome(name: str, sabotage: Sabotage, fixtures: Fixtures) -> BaseException | None:
    """What a test of the suite ends with on a sabotaged backend."""
    test: Callable[..., Any] = getattr(BackendSuite(), name)
    with SabotagedRig(sabotage) as rig:
        given = {"rig": rig, **fixtures}
        try:
            test(**{each: given[each] for each in inspect.signature(test).parameters})
        except (Exception, pytest.fail.Exception) as error:
            return error
        except pytest.skip.Exception:
            pass
        return None


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_collector, "DEADLINE", SOON)
    before = set(threading.enumerate())
    yield
    clean_up()
    for thread in set(threading.enumerate()) - before:
        thread.join(DEADLINE)  # the next test counts threads: none may end meanwhile


@pytest.fixture
def less_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_collector, "DEADLINE", 10 * SOON)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda s: f"{s.rule:02} {s.how}")
def test_a_backend_that_breaks_a_rule_fails_one_of_its_tests(
    sabotage: Sabotage, fixtures: Fixtures
) -> None:
    names = checks_of(sabotage.rule)
    assert any(outcome(name, sabotage, fixtures) for name in names), f"none of {names} notices"


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_has_a_test_and_a_sabotage(rule: int) -> None:
    assert checks_of(rule)
    assert any(sabotage.rule == rule for sabotage in SABOTAGES)


def test_every_test_is_of_a_rule() -> None:
    named = [name for name in dir(BackendSuite) if name.startswith("test_b")]
    assert {int(name[6:8]) for name in named} == RULES


@pytest.mark.usefixtures("less_impatient")
def test_a_right_backend_passes_with_what_is_sabotaged_otherwise(fixtures: Fixtures) -> None:
    right = Sabotage(0, "does nothing wrong")
    failed = {
        name: error
        for rule in RULES
        for name in checks_of(rule)
        if (error := outcome(name, right, fixtures)) is not None
    }
    assert not failed
