"""The Socket.IO link, with a socket that the test scripts."""

from typing import Any, cast

import pytest

from enchannel import ChannelName, Session
from enchannel.errors import EnchannelError
from enchannel.messages import stream
from enchannel.testing import Collector
from enchannel_socketio import _link
from enchannel_socketio._client import KernelRecord, RelayClient
from enchannel_socketio._link import SocketioLink
from enchannel_socketio._loop import loops
from enchannel_socketio._options import SocketioOptions
from enchannel_socketio._packet import Packet, encode_message
from enchannel_socketio._socket import Ready, RelaySocket
from tests.rigs import eventually

MODEL = KernelRecord(
    id="k-1",
    name="python3",
    state="idle",
    watchers=0,
    first=1,
    last=5,
    access="full",
    lifecycle=False,
    max_message=1000,
)


class FakeRelay:
    """A client of a relay, of which the link needs this only."""

    http = None

    async def close(self) -> None: ...


def batch_after(position: int) -> Any:
    message = encode_message(Session().fill_headers(stream("stdout", "early")))
    fields = (position, position + 1, message.json, position + 1)
    text = b'["batch",{"after":%d,"upto":%d,"events":[["msg",%b,%d]]}]' % fields
    data = Packet(encoded_packet=f"2{text.decode()}").data
    assert data is not None
    return data[1]


class EagerSocket(RelaySocket):
    """Receives a batch before the caller of ``open`` continues."""

    async def open(self, *, session: str, since: int | None) -> Ready:
        self._on_batch_event(batch_after(5))
        return Ready(position=5, state="idle")


@pytest.mark.parametrize("since", [None, 5])
def test_batch_received_while_connecting_is_kept(
    monkeypatch: pytest.MonkeyPatch, since: int | None
) -> None:
    """The position of the first event must not replace that of a batch which follows it at once."""
    monkeypatch.setattr(_link, "RelaySocket", EagerSocket)
    lease = loops.lease()
    relay = cast(RelayClient, FakeRelay())
    link = SocketioLink(relay, MODEL, Session(), lease, SocketioOptions(), since=since)
    messages = Collector(link.incoming[ChannelName.IOPUB])
    events = Collector(link.events)
    lease.resource.run(link.open())
    if since is not None:
        link.begin_soon()
    (message,) = messages.wait_for_count(1)
    assert message.content["text"] == "early"
    assert eventually(lambda: link.position == 6)
    link.close()
    assert not [event for event in events.items if isinstance(event, EnchannelError)]
