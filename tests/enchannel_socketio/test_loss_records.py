"""Records of lost links, which have the reason of the loss."""

import pytest

from enchannel.abc import KernelState, LinkEvent, LinkState
from enchannel.backends import EventRecord
from enchannel.errors import ConnectionLost, EnchannelError, KernelDied, MessagesMayBeMissing
from enchannel_socketio.relay._loss_records import LossRecords

DIED = KernelDied("kernel 5 died")
LOST = ConnectionLost("gone")
MISSING = MessagesMayBeMissing("some")


def records_of(records: LossRecords, *events: LinkEvent) -> list[EventRecord]:
    return [record for event in events for record in records.records_of(event)]


@pytest.mark.parametrize("reason", [DIED, LOST])
def test_loss_is_recorded_with_its_reason(reason: EnchannelError) -> None:
    records = LossRecords(has_reason=True)
    assert records_of(records, LinkState.LOST, KernelState.DEAD) == []
    loss, *others = records.records_of(reason)
    assert loss.to_event() is LinkState.LOST
    assert (loss.error, loss.text) == (type(reason).__name__, str(reason))
    assert others == [EventRecord.of(KernelState.DEAD), EventRecord.of(reason)]
    assert EventRecord.decode(loss.encode()) == loss


@pytest.mark.parametrize("after", [LinkState.CONNECTED, LinkState.LOST, MISSING])
def test_loss_without_reason_is_recorded_late(after: LinkEvent) -> None:
    records = LossRecords(has_reason=True)
    events = LinkState.LOST, after
    assert [*records_of(records, *events), *records.take()] == [*map(EventRecord.of, events)]
    assert records.take() == []


def test_loss_of_resuming_link_is_recorded_at_once() -> None:
    records = LossRecords(has_reason=False)
    assert records.records_of(LinkState.LOST) == [EventRecord.of(LinkState.LOST)]
    assert records.records_of(DIED) == [EventRecord.of(DIED)]
