"""The declarations of a backend: the version of its contract, and its arguments."""

from abc import abstractmethod
from importlib import metadata
from typing import Any

import pytest

from enchannel import Session
from enchannel.abc import CONTRACT_VERSION, Backend, Launcher, Link, OpenContext
from tests.rigs.scripted import ScriptedBackend


def test_backend_without_contract_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Pigeon\.contract must be an int .* as in contract = 1"):

        class Pigeon(Backend):
            def open(self, target: Any, context: OpenContext) -> Link:
                raise NotImplementedError


def test_inherited_contract_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Pigeon\.contract must be an int"):

        class Pigeon(ScriptedBackend):
            pass


@pytest.mark.parametrize("version", ["1", 1.0, True, None])
def test_contract_of_other_type_is_refused(version: object) -> None:
    with pytest.raises(TypeError, match=f"not {version!r}; write"):
        type("Pigeon", (ScriptedBackend,), {"contract": version})


def test_abstract_backend_needs_no_contract() -> None:
    class Base(Launcher):
        def open(self, target: Any, context: OpenContext) -> Link:
            return self.fly()

        @abstractmethod
        def fly(self) -> Link: ...

    assert not hasattr(Base, "contract")


def test_installed_backends_declare_current_contract() -> None:
    backends = {
        type(entry.load())
        for entry in metadata.entry_points(group="enchannel.backends")
        if entry.module.startswith("enchannel")
    }
    assert {vars(backend)["contract"] for backend in backends} == {CONTRACT_VERSION}


def test_context_is_immutable_and_keyword_only() -> None:
    context = OpenContext(session=Session(), timeout=3)
    assert (context.scheduler, context.at) == (None, None)
    with pytest.raises(AttributeError):
        context.timeout = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        OpenContext(Session(), 3)  # type: ignore[call-arg]
