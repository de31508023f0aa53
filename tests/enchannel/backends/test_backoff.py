"""Backoff, in the time that the test passes."""

import random

import pytest

from enchannel.backends._backoff import MAX_REJECTIONS, Backoff, RejectionCounter


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)


def test_pauses_double_up_to_maximum() -> None:
    backoff = Backoff(1000.0, 0.0)
    pauses = [backoff.next_pause(0.0) for _ in range(8)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_jitter_shortens_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: low)
    assert Backoff(1000.0, 0.0).next_pause(0.0) == pytest.approx(0.05)


def test_pause_beyond_deadline_gives_up() -> None:
    backoff = Backoff(1.0, now=100.0)
    assert backoff.next_pause(100.5) is not None
    assert backoff.next_pause(100.9) is None


def test_attempt_ends_at_deadline() -> None:
    backoff = Backoff(30.0, now=0.0)
    assert backoff.attempt_timeout(0.0) == 10.0
    assert backoff.attempt_timeout(25.0) == 5.0
    assert backoff.attempt_timeout(40.0) == 0.1


def test_early_rejections_are_final() -> None:
    rejections = RejectionCounter()
    assert rejections.pause == 0.0
    for _ in range(MAX_REJECTIONS):
        assert not rejections.is_final
        rejections.count(is_rejection=True, lasted=0.1)
    assert rejections.is_final
    assert rejections.pause == pytest.approx(0.1 * 2**MAX_REJECTIONS)


@pytest.mark.parametrize(("is_rejection", "lasted"), [(False, 0.1), (True, 60.0)])
def test_other_loss_resets_rejections(is_rejection: bool, lasted: float) -> None:
    rejections = RejectionCounter()
    for _ in range(MAX_REJECTIONS - 1):
        rejections.count(is_rejection=True, lasted=0.1)
    rejections.count(is_rejection=is_rejection, lasted=lasted)
    rejections.count(is_rejection=True, lasted=0.1)
    assert not rejections.is_final
