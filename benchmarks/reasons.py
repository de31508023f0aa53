"""The reasons for figures that miss their bound, by title and peer; the table shows them."""

from collections.abc import Mapping
from typing import Final

__all__ = ["REASONS"]

REASONS: Final[Mapping[tuple[str, str], str]] = {
    ("round trip, fake kernel, `kernel.shell`", "bare DEALER"): (
        "each hand-over between threads costs some 40 µs here, and iopub is read as well"
    ),
    ("`import enchannel`", "`import jupyter_client`"): (
        "two thirds of it are reactivex, which imports asyncio, and a tenth is msgspec"
    ),
}
