"""The records of a lost link: each loss is reported together with its reason."""

from __future__ import annotations

import msgspec

from enchannel.abc import KernelState, LinkEvent, LinkState
from enchannel.backends import EventRecord
from enchannel.errors import ConnectionLost, KernelDied

__all__ = ["LossRecords"]


class LossRecords:
    """Makes records of link events; that of a loss has its reason, which a link reports after the loss.

    So a client that is told of the loss can already raise the reason when a message is sent.

    Args:
        has_reason: True if a loss is always followed by its reason, as it is by a link that cannot resume.
            For other links, the loss is recorded at once, without a reason.
    """

    def __init__(self, *, has_reason: bool) -> None:
        self._has_reason = has_reason
        self._held: list[EventRecord] = []

    def records_of(self, event: LinkEvent) -> list[EventRecord]:
        """Return the records to write: of this event and of those held back before; none if it is held."""
        record = EventRecord.of(event)
        if self._has_reason and event is LinkState.LOST:
            records, self._held = self._held, [record]
            return records
        if self._held and isinstance(event, KernelState):
            self._held.append(record)
            return []
        if self._held and isinstance(event, (ConnectionLost, KernelDied)):
            self._held[0] = msgspec.structs.replace(record, link=LinkState.LOST)
        return [*self.take(), record]

    def take(self) -> list[EventRecord]:
        """Return the records that are held back, and hold them no longer."""
        records, self._held = self._held, []
        return records
