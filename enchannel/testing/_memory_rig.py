"""The far end of the in-memory backend, for the suite and for fake kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from enchannel.abc import Backend
from enchannel.memory import InMemoryKernel, MemoryBackend
from enchannel.testing._rig import Rig

__all__ = ["MemoryRig"]


class MemoryRig(InMemoryKernel, Rig):
    """Both ends in hand; see ``InMemoryKernel`` for what it takes."""

    backend: Backend = MemoryBackend()
    unreachable_target: Any = "memory:nowhere"
    unsupported: ClassVar[Mapping[str, str]] = {
        "garbage": "there are no bytes in memory that could be damaged",
        "secrets": "there is nothing secret in memory",
    }
