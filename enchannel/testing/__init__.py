"""The conformance suite for backends, and fake kernels for tests.

See ``docs/backends.md``. Requires ``pip install "enchannel[testing]"``.
"""

from enchannel.errors import MissingDependency

try:
    import hypothesis  # noqa: F401  # used by modules below; checked before they are imported
    import pytest
except ImportError as _error:
    raise MissingDependency(
        f'testing backends requires {_error.name}; pip install "enchannel[testing]"'
    ) from _error

pytest.register_assert_rewrite(
    *(
        f"enchannel.testing.{name}"
        for name in ("_suite", "_rules", "_checks", "_client", "_collector")
    )
)

from enchannel.testing._collector import Collector  # noqa: E402
from enchannel.testing._fake_kernel import FakeKernel, Fault, KernelEnd, RequestHandler, Send, echo  # noqa: E402
from enchannel.testing._memory_rig import MemoryRig  # noqa: E402
from enchannel.testing._rig import Rig  # noqa: E402
from enchannel.testing._suite import BackendSuite  # noqa: E402
from enchannel.testing.quirks import QUIRKS  # noqa: E402

__all__ = [
    "BackendSuite",
    "Collector",
    "FakeKernel",
    "Fault",
    "KernelEnd",
    "MemoryRig",
    "QUIRKS",
    "RequestHandler",
    "Rig",
    "Send",
    "echo",
]
