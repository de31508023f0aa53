"""Running kernels and kernelspecs, as ``enchannel.list_kernels`` and ``list_kernelspecs`` return them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from enchannel.frozen import FrozenDict

__all__ = ["KernelModel", "KernelspecModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelModel:
    """A running kernel, as its server describes it.

    A backend returns a subclass if its servers report more.

    Attributes:
        id: The kernel's id on that server, or on this machine.
        name: The name of its kernelspec; empty if unknown.
        state: Its execution state: ``"idle"``, ``"busy"``, ``"starting"``, ``"dead"`` or another word of
            the server. Without a server, on this machine, a kernel that answers is ``"alive"``, and one
            that does not, whose connection file has outlived it, is ``"dead"``.
        connections: The number of connected clients; None if unknown.
        last_activity: The time of its last activity, with a time zone; None if unknown.
        target: The target for ``enchannel.connect``: a URL without a token, or the path of a connection
            file.
    """

    id: str
    name: str = ""
    state: str = "unknown"
    connections: int | None = None
    last_activity: datetime | None = None
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelspecModel:
    """An installed kernelspec: a kind of kernel that can be started.

    Attributes:
        name: The name for ``enchannel.launch``.
        display_name: The name to show to users.
        language: The programming language.
        metadata: Further properties in its ``kernel.json``; empty if the server does not send them.
        error: The reason why it cannot be started, with the path of its file; None if none is known. Such a
            kernelspec has no other properties. Servers leave them out.
    """

    name: str
    display_name: str = ""
    language: str = ""
    metadata: Mapping[str, Any] = field(default_factory=FrozenDict, hash=False)
    error: str | None = None
