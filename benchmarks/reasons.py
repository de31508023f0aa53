"""The reasons for figures that miss their bound, by title and peer; the table shows them."""

from collections.abc import Mapping
from typing import Final

__all__ = ["REASONS"]

REASONS: Final[Mapping[tuple[str, str], str]] = {
    ("round trip, fake kernel, `kernel.shell`", "bare DEALER"): (
        "each hand-over to another thread (I/O, subscriber, caller) costs a wake-up of some 40 µs on "
        "this machine, while a DEALER uses one thread; and the same two cores also read the kernel's "
        "iopub messages, which the DEALER does not receive"
    ),
    ("`import enchannel`", "`import jupyter_client`"): (
        "two thirds of it are reactivex, which imports asyncio, and a tenth is msgspec"
    ),
}
