"""The rig of the in-memory backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from enchannel.abc import Backend
from enchannel.memory import InMemoryKernel, MemoryBackend
from enchannel.testing._rig import Rig

__all__ = ["MemoryRig"]


class MemoryRig(InMemoryKernel, Rig):
    """An ``InMemoryKernel`` that is also a rig; the arguments are the same."""

    backend: Backend = MemoryBackend()
    unreachable_target: Any = "memory:nowhere"
    unsupported: ClassVar[Mapping[str, str]] = {
        "garbage": "messages in memory are not bytes that could be damaged",
        "secrets": "the in-memory backend has no secrets",
    }
