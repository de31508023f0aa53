"""Errors as the command prints them."""

import copy
import pickle

import pytest

import enchannel as ec
from enchannel._cli.error_text import ADVICE, error_text
from enchannel.errors import Remedy


def test_every_remedy_has_advice() -> None:
    assert set(ADVICE) == set(Remedy)


@pytest.mark.parametrize("remedy", Remedy)
def test_error_text_has_no_python_advice(remedy: Remedy) -> None:
    error = ec.ConnectionFailed("nothing works", remedy=remedy)
    assert str(error) == f"nothing works; {remedy.value}"
    assert error_text(error) == f"nothing works; {ADVICE[remedy]}"


def test_error_text_without_remedy() -> None:
    assert error_text(ec.KernelDied("kernel 1a2b died")) == "kernel 1a2b died"


def test_remedy_survives_copies() -> None:
    error = ec.LaunchFailed("not there", exit_code=1)
    error.remedy = Remedy.LAUNCH
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301
        assert (twin.remedy, twin.problem, twin.exit_code) == (Remedy.LAUNCH, "not there", 1)
