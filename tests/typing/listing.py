"""User code that lists kernels, as a test for the type checkers; it is never run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_type

import enchannel as ec
from enchannel.abc import Link, Lister, OpenContext
from enchannel.backends import find_kernel


def listing() -> None:
    assert_type(ec.list_kernels(), tuple[ec.KernelModel, ...])
    assert_type(ec.list_kernels("http://host", token="x"), tuple[ec.KernelModel, ...])
    assert_type(ec.list_kernelspecs(), tuple[ec.KernelspecModel, ...])
    assert_type(ec.list_kernelspecs(backend="tcp", timeout=3), tuple[ec.KernelspecModel, ...])
    for kernel in ec.list_kernels():
        assert_type(kernel.id, str)
        assert_type(kernel.name, str)
        assert_type(kernel.state, str)
        assert_type(kernel.connections, int | None)
        assert_type(kernel.last_activity, datetime | None)
        assert_type(kernel.target, str)
        assert_type(ec.connect(kernel.target), ec.Kernel)
    for spec in ec.list_kernelspecs():
        assert_type(spec.name, str)
        assert_type(spec.display_name, str)
        assert_type(spec.language, str)
        assert_type(spec.metadata, Mapping[str, Any])
        spec.metadata["a"] = 1  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


async def listing_on_a_loop() -> None:
    assert_type(await ec.alist_kernels("http://host"), tuple[ec.KernelModel, ...])
    assert_type(await ec.alist_kernelspecs(), tuple[ec.KernelspecModel, ...])


def connecting_by_id() -> None:
    kernel = ec.connect("1a2b", at="socketio+http://host", token="x", since=5)
    assert_type(kernel, ec.Kernel)
    assert_type(kernel.position, int | None)


class TcpKernelModel(ec.KernelModel):
    """A model of another backend."""


class TcpBackend(Lister):
    """A backend of somebody else, with options of its own."""

    contract = 1

    def open(self, target: Any, context: OpenContext, *, token: str = "") -> Link:
        assert_type(context.at, str | None)
        if context.at is not None:
            assert_type(find_kernel(self.list_kernels(context), target, context.at), TcpKernelModel)
        raise NotImplementedError

    def list_kernels(self, context: OpenContext, *, token: str = "") -> tuple[TcpKernelModel, ...]:
        return (TcpKernelModel(id="1", target="tcp://1"),)

    def list_kernelspecs(self, context: OpenContext) -> tuple[ec.KernelspecModel, ...]:
        return ()
