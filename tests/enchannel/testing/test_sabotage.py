"""The conformance suite fails for backends that break a rule, for each rule."""

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
# Tests wait as long as this for items that a sabotaged backend never emits.
SHORT_DEADLINE = 0.3


def checks_of(rule: int) -> list[str]:
    return [name for name in dir(BackendSuite) if name.startswith(f"test_b{rule:02}_")]


Fixtures = dict[str, Any]


@pytest.fixture
def fixtures(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Fixtures:
    """Return the pytest fixtures, other than the rig, that tests of the suite use."""
    return {"caplog": caplog, "capfd": capfd}


def outcome(name: str, sabotage: Sabotage, fixtures: Fixtures) -> BaseException | None:
    """Run a test of the suite on a sabotaged backend; return its failure, or None."""
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
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_collector, "DEADLINE", SHORT_DEADLINE)
    before = set(threading.enumerate())
    yield
    clean_up()
    for thread in set(threading.enumerate()) - before:
        # The next test counts threads; none may end meanwhile.
        thread.join(DEADLINE)


@pytest.fixture
def medium_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_collector, "DEADLINE", 10 * SHORT_DEADLINE)


@pytest.mark.usefixtures("short_deadline")
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda s: f"{s.rule:02} {s.how}")
def test_sabotaged_backend_fails_the_suite(sabotage: Sabotage, fixtures: Fixtures) -> None:
    names = checks_of(sabotage.rule)
    assert any(outcome(name, sabotage, fixtures) for name in names), f"none of {names} fails"


def test_missing_validate_open_is_named(fixtures: Fixtures) -> None:
    (sabotage,) = (s for s in SABOTAGES if s.rule == 18 and "accepts at first" in s.how)
    (name,) = checks_of(18)
    assert re.search(
        r"open raised ValueError for the target 'memory:' and validate_open accepted it; "
        r"implement validate_open",
        str(outcome(name, sabotage, fixtures)),
    )


@pytest.mark.parametrize("rule", sorted(RULES))
def test_rule_has_a_test_and_a_sabotage(rule: int) -> None:
    assert checks_of(rule)
    assert any(sabotage.rule == rule for sabotage in SABOTAGES)


def test_names_of_tests_have_a_rule() -> None:
    named = [name for name in dir(BackendSuite) if name.startswith("test_b")]
    assert {int(name[6:8]) for name in named} == RULES


@pytest.mark.usefixtures("medium_deadline")
def test_backend_without_sabotage_passes(fixtures: Fixtures) -> None:
    right = Sabotage(0, "breaks no rule")
    failed = {
        name: error
        for rule in RULES
        for name in checks_of(rule)
        if (error := outcome(name, right, fixtures)) is not None
    }
    assert not failed
