"""Rule 21: listing kernels, and finding them by their id."""

from __future__ import annotations

from functools import partial

import pytest

import enchannel as ec
from enchannel.abc import Lister, OpenContext
from enchannel.errors import ConnectionFailed
from enchannel.testing._checks import call_in_time
from enchannel.testing._client import TIMEOUT, Client
from enchannel.testing._rig import Rig

__all__ = ["Listing"]


class Listing:
    """Tests of backends that list kernels."""

    def test_b21_listed_kernel_can_be_opened(self, rig: Rig) -> None:
        _require_lister(rig)
        (model,) = [model for model in _models(rig) if model.id == _kernel_id(rig)]
        assert isinstance(model.target, str)
        assert _open(rig, model.target, at=None) == model.id

    def test_b21_kernel_is_found_by_id(self, rig: Rig) -> None:
        _require_lister(rig)
        if rig.at is None:
            pytest.skip("the rig has no server")
        kernel_id = _kernel_id(rig)
        for beginning in (kernel_id, kernel_id[:-1]):
            assert _open(rig, beginning, at=rig.at) == kernel_id
        with pytest.raises(ConnectionFailed):
            _open(rig, "no-such-kernel", at=rig.at)

    def test_b21_listing_has_no_secrets(self, rig: Rig) -> None:
        lister = _require_lister(rig)
        context = OpenContext(session=ec.Session(), timeout=TIMEOUT, at=rig.at)
        specs = call_in_time(partial(lister.list_kernelspecs, context))
        text = f"{_models(rig)} {specs}"
        assert [secret for secret in rig.secrets if secret in text] == []


def _require_lister(rig: Rig) -> Lister:
    if "at" in rig.unsupported:
        pytest.skip(rig.unsupported["at"])
    if not isinstance(rig.backend, Lister):
        pytest.skip("the backend is not a Lister")
    return rig.backend


def _models(rig: Rig) -> tuple[ec.KernelModel, ...]:
    context = OpenContext(session=ec.Session(), timeout=TIMEOUT, at=rig.at)
    return call_in_time(partial(_require_lister(rig).list_kernels, context))


def _kernel_id(rig: Rig) -> str:
    with Client(rig) as client:
        return client.link.kernel_id


def _open(rig: Rig, target: str, *, at: str | None) -> str:
    """Open a link to a target, close it, and return the id of its kernel."""
    context = OpenContext(session=ec.Session(), timeout=TIMEOUT, at=at)
    link = call_in_time(partial(rig.backend.open, target, context, **rig.options))
    link.close()
    return link.kernel_id
