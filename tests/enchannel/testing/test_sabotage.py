"""The suite catches a backend that breaks a rule, whichever it is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import enchannel.abc
from enchannel.testing import BackendSuite, _seen, _suite
from tests.enchannel.testing.sabotage import SABOTAGES, Sabotage, SabotagedRig

RULES = {int(number) for number in re.findall(r"^ {4}(\d+)\. ", enchannel.abc.__doc__ or "", re.M)}
SOON = 0.3  # seconds: what a sabotaged backend owes never comes, and is waited for so long


def checks_of(rule: int) -> list[str]:
    return [name for name in dir(BackendSuite) if name.startswith(f"test_b{rule:02}_")]


def outcome(
    name: str, sabotage: Sabotage, caplog: pytest.LogCaptureFixture
) -> BaseException | None:
    """What a test of the suite ends with on a sabotaged backend."""
    test: Callable[..., Any] = getattr(BackendSuite(), name)
    with SabotagedRig(sabotage) as rig:
        given = {"rig": rig, "caplog": caplog}
        try:
            test(**{each: given[each] for each in inspect.signature(test).parameters})
        except (Exception, pytest.fail.Exception) as error:
            return error
        except pytest.skip.Exception:
            pass
        return None


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_seen, "DEADLINE", SOON)
    monkeypatch.setattr(_suite, "DEADLINE", SOON)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda s: f"{s.rule:02} {s.how}")
def test_a_backend_that_breaks_a_rule_fails_one_of_its_tests(
    sabotage: Sabotage, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes = {name: outcome(name, sabotage, caplog) for name in checks_of(sabotage.rule)}
    assert any(outcomes.values()), f"none of {', '.join(outcomes)} notices"


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_has_a_test_and_a_sabotage(rule: int) -> None:
    assert checks_of(rule)
    assert any(sabotage.rule == rule for sabotage in SABOTAGES)


def test_every_test_is_of_a_rule() -> None:
    named = [name for name in dir(BackendSuite) if name.startswith("test_b")]
    assert {int(name[6:8]) for name in named} == RULES


def test_a_right_backend_passes_with_what_is_sabotaged_otherwise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    right = Sabotage(0, "does nothing wrong")
    failed = {
        name: error
        for rule in RULES
        for name in checks_of(rule)
        if (error := outcome(name, right, caplog)) is not None
    }
    assert not failed
