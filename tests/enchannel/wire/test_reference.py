"""Messages exchanged with jupyter_client, the reference implementation, in both directions."""

import hashlib
from typing import Any

import pytest

import enchannel as ec
from enchannel import messages as build
from enchannel.wire.signing import Signer
from enchannel.wire.zmq import encode
from tests.enchannel.wire.reader import Reader
from tests.rigs.frames import KEY

pytest.importorskip("jupyter_client")
from jupyter_client.session import Session

SCHEMES = ["hmac-sha256", "hmac-md5", "hmac-sha1", "hmac-sha512", "hmac-sha3_256", "hmac-blake2b"]
CONTENT = {
    "text": "naïve — ⚠ 🐍 \x00 \u2028",
    "nested": {"list": [1, 2.5, -0.0, None, True, [], {}], "": ""},
    "big": 1 << 80,
}
BUFFERS = [b"abc", b"", bytes(range(256)), b""]


def session(key: bytes = KEY, scheme: str = "hmac-sha256") -> Any:
    return Session(key=key, signature_scheme=scheme, session="reference", username="ada")


def sent(reference: Any, message: dict[str, Any]) -> list[bytes]:
    """Return the frames that ``send`` of the reference passes to a socket."""
    return [*reference.serialize(message, ident=[b"topic"]), *BUFFERS]


def read(reference: Any, frames: list[bytes | memoryview]) -> dict[str, Any]:
    identities, rest = reference.feed_identities([bytes(frame) for frame in frames])
    assert identities == []
    message: dict[str, Any] = reference.deserialize(rest)
    return message


@pytest.mark.parametrize("key", [KEY, b"\xff\x00binary", b""], ids=["text", "binary", "empty"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_reference_message_is_decoded(scheme: str, key: bytes) -> None:
    reference = session(key, scheme)
    parent = reference.msg("execute_request", {"code": "1"})
    message = reference.msg("stream", CONTENT, parent=parent, metadata={"µ": [1]})
    reader = Reader(key, scheme)
    ours = reader(sent(reference, message))
    assert ours.channel is ec.ChannelName.IOPUB
    assert ours.header.to_dict() == {
        **message["header"],
        "date": message["header"]["date"].isoformat().replace("+00:00", "Z"),
    }
    assert ours.parent_header.msg_id == parent["header"]["msg_id"]
    assert ours.parent_header.session == "reference"
    assert ours.content == CONTENT
    assert ours.metadata == {"µ": [1]}
    assert [bytes(buffer) for buffer in ours.buffers] == BUFFERS
    assert reader.reports == []


@pytest.mark.parametrize("key", [KEY, b"\xff\x00binary", b""], ids=["text", "binary", "empty"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_reference_decodes_message(scheme: str, key: bytes) -> None:
    request = ec.Session().fill_headers(ec.execute_request("1"))
    message = ec.Session("ours", "ada").fill_headers(
        ec.create_message(
            "display_data", CONTENT, parent=request, metadata={"µ": [1]}, buffers=BUFFERS
        )
    )
    theirs = read(session(key, scheme), encode(message, Signer(key, scheme)))
    assert theirs["header"]["date"].isoformat().replace("+00:00", "Z") == message.header.date
    del theirs["header"]["date"]
    assert theirs["header"] == {
        "msg_id": message.header.msg_id,
        "msg_type": "display_data",
        "session": "ours",
        "username": "ada",
        "version": "5.5",
    }
    assert theirs["parent_header"]["msg_id"] == request.header.msg_id
    assert theirs["content"] == CONTENT
    assert theirs["metadata"] == {"µ": [1]}
    assert [bytes(buffer) for buffer in theirs["buffers"]] == BUFFERS


def test_parent_header_is_forwarded_unchanged() -> None:
    """The reference parses dates and formats them again; enchannel keeps them."""
    reference = session()
    reader, request = Reader(), reference.msg("execute_request", {"code": "1"})
    ours = reader(sent(reference, request))
    reply = build.execute_reply(1, parent=ours)
    theirs = read(session(), encode(reply, Signer(KEY)))
    assert theirs["parent_header"]["date"] == request["header"]["date"]


def test_both_reject_another_key() -> None:
    reference, message = session(b"another"), build.status("busy", parent=None)
    with pytest.raises(ValueError, match="Invalid Signature"):
        read(reference, encode(message, Signer(KEY)))
    with pytest.raises(ec.InvalidSignature):
        Reader()(sent(reference, reference.msg("stream")))


def test_both_reject_replays() -> None:
    reference, reader = session(), Reader()
    frames = encode(build.status("busy", parent=None), Signer(KEY))
    read(reference, frames)
    with pytest.raises(ValueError, match="Duplicate Signature"):
        read(reference, frames)
    theirs = sent(reference, reference.msg("stream"))
    reader(theirs)
    with pytest.raises(ec.ReplayedFrame):
        reader(theirs)


@pytest.mark.parametrize("name", sorted(hashlib.algorithms_guaranteed))
def test_signature_schemes_include_reference(name: str) -> None:
    scheme = f"hmac-{name}"
    try:
        signature = session(KEY, scheme).sign([b"{}"] * 4)
    except Exception:
        # shake has no fixed length, so an HMAC cannot use it.
        with pytest.raises(ec.ConnectionFailed, match=scheme):
            Signer(KEY, scheme)
    else:
        assert Signer(KEY, scheme).sign([b"{}"] * 4) == signature
