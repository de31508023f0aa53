"""The in-memory backend keeps the contract."""

from collections.abc import Iterator

import pytest

from enchannel.abc import Capabilities
from enchannel.testing import BackendSuite, MemoryRig


class TestMemory(BackendSuite):
    @pytest.fixture
    def rig(self) -> Iterator[MemoryRig]:
        with MemoryRig(has_lifecycle=True) as rig:
            yield rig


class TestResumingMemory(BackendSuite):
    @pytest.fixture
    def rig(self) -> Iterator[MemoryRig]:
        with MemoryRig(capabilities=Capabilities(can_resume=True)) as rig:
            yield rig


class TestLimitedMemory(BackendSuite):
    @pytest.fixture
    def rig(self) -> Iterator[MemoryRig]:
        with MemoryRig(capabilities=Capabilities(buffers=False, max_sent=10_000)) as rig:
            yield rig
