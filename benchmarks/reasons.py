"""Why a figure is not reached, by its title and its peer; the table says it beside the figure."""

from collections.abc import Mapping
from typing import Final

__all__ = ["REASONS"]

REASONS: Final[Mapping[tuple[str, str], str]] = {
    ("round trip, fake kernel, `kernel.shell`", "bare DEALER"): (
        "each hand-over to another thread is a wake-up, some 40 µs on such a machine: to the I/O "
        "thread, to the subscriber's, and from there to who waits, where a DEALER is one thread; and "
        "what the kernel says on iopub, which the DEALER does not hear, is read on the same two cores"
    ),
    ("`import enchannel`", "`import jupyter_client`"): (
        "reactivex, which imports asyncio, is two thirds of it, and msgspec a tenth"
    ),
}
