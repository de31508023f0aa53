"""Signatures, and what they are for."""

import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enchannel import ChannelName, ConnectionInfo
from enchannel.errors import ConnectionFailed, InvalidSignature, RejectedFrame, ReplayedFrame
from enchannel.wire.signing import ReplayGuard, Signer
from enchannel.wire.zmq import Decoder
from tests.enchannel.wire.reader import Reader
from tests.rigs.frames import KEY, parts, signature, signed


@pytest.mark.parametrize("digest", ["sha256", "md5", "sha1", "sha512", "sha3_256", "blake2s"])
def test_signature_is_an_hmac_of_the_four_parts(digest: str) -> None:
    made = [b'{"a": 1}', b"{}", b"", b"\xff"]
    expected = hmac.new(KEY, b"".join(made), getattr(hashlib, digest)).hexdigest()
    assert Signer(KEY, f"hmac-{digest}").sign(made) == expected.encode()


@pytest.mark.parametrize(
    "scheme",
    ["", "hmac", "hmac-", "sha256", "hmac-sha257", "hmac-shake_128", "HMAC-sha256", "x-sha256"],
)
def test_unknown_scheme(scheme: str) -> None:
    with pytest.raises(ConnectionFailed, match=re.escape(repr(scheme))):
        Signer(KEY, scheme)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"0" * 64,
        b"\xff" * 64,
        signature(KEY, parts())[:-1],
        signature(b"another", parts()),
        signature(KEY, parts()).upper(),
        signature(KEY, parts()) + b"0",
    ],
    ids=["empty", "zeros", "no digits", "short", "another's", "upper case", "long"],
)
def test_a_wrong_signature_is_refused(wrong: bytes) -> None:
    made = signed(KEY, *parts())
    made[1] = wrong
    with pytest.raises(InvalidSignature, match="iopub"):
        Reader()(made)


def test_a_missing_signature_is_called_missing() -> None:
    with pytest.raises(InvalidSignature, match="is not signed"):
        Reader()(signed(b"", *parts()))


def test_without_a_key_nothing_is_checked() -> None:
    reader = Reader(b"")
    for sent in (b"", b"whatever", b"whatever"):
        made = signed(b"", *parts("stream"))
        made[1] = sent
        assert reader(made).header.msg_type == "stream"
    assert not Signer(b"").signs


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict is compare_digest's, and nobody else's."""
    asked: list[tuple[bytes, bytes]] = []
    verdict = True

    def compare(one: bytes, other: bytes) -> bool:
        asked.append((one, other))
        return verdict

    monkeypatch.setattr("hmac.compare_digest", compare)
    right, wrong = signed(KEY, *parts()), signed(b"another", *parts())
    Reader()(wrong)
    assert set(asked.pop()) == {wrong[1], signature(KEY, wrong[2:6])}
    verdict = False
    with pytest.raises(InvalidSignature):
        Reader()(right)
    assert len(asked) == 1


def test_the_right_signature_is_not_told_to_who_has_it_not() -> None:
    wrong = signed(b"another", *parts())
    with pytest.raises(InvalidSignature) as raised:
        Reader()(wrong)
    shown = f"{raised.value} {raised.value!r} {raised.value.__context__!r}"
    assert signature(KEY, wrong[2:6]).decode() not in shown


# -- replays --------------------------------------------------------------------------------------


def test_a_replay_is_refused_on_the_same_socket() -> None:
    reader, made = Reader(), signed(KEY, *parts())
    reader([b"topic", *made])
    for prefix in ([], [b"topic"], [b"another", b"topic"]):
        with pytest.raises(ReplayedFrame):
            reader([*prefix, *made])
    with pytest.raises(ReplayedFrame):  # with other buffers it is no other message
        reader([*made, b"buffer"])


def test_sockets_do_not_share_what_they_saw() -> None:
    """shutdown_reply comes on control and on iopub."""
    signer, made = Signer(KEY), signed(KEY, *parts("shutdown_reply"))
    names = ChannelName.CONTROL, ChannelName.IOPUB, ChannelName.CONTROL
    for decoder in [Decoder(name, signer) for name in names]:
        assert decoder.decode(made).header.msg_type == "shutdown_reply"


def test_what_was_not_signed_is_not_remembered() -> None:
    """Else a stranger could have it forget what it saw, or refuse what is still to come."""
    reader, made = Reader(), signed(KEY, *parts("stream"))
    stolen = [*made[:5], b'{"text": "another"}']
    with pytest.raises(InvalidSignature):
        reader(stolen)
    assert reader(made).header.msg_type == "stream"


def test_a_malformed_message_is_malformed_once() -> None:
    reader, made = Reader(), signed(KEY, *parts()[:3], b"[")
    for _ in range(2):
        with pytest.raises(RejectedFrame):
            reader(made)


def refuses(guard: ReplayGuard, sign: bytes) -> bool:
    try:
        guard.check(sign)
    except ReplayedFrame:
        return True
    return False


@given(st.integers(1, 20), st.lists(st.integers(0, 60).map(lambda n: b"%d" % n)))
def test_a_guard_remembers_the_last_and_forgets_the_rest(size: int, said: list[bytes]) -> None:
    guard = ReplayGuard(size)
    accepted: list[bytes] = []
    for sign in said:
        refused = refuses(guard, sign)
        if sign in accepted[-size:]:
            assert refused
        if sign not in accepted[-2 * size :]:
            assert not refused
        if not refused:
            accepted.append(sign)


def test_a_guard_takes_no_more_memory_than_it_may() -> None:
    guard = ReplayGuard(100)
    for n in range(10_000):
        guard.check(b"%d" % n)
        assert len(guard._recent) + len(guard._older) <= 200
    assert refuses(guard, b"9999")
    assert not refuses(guard, b"0")


def test_a_decoder_remembers_thousands() -> None:
    reader = Reader()
    first = signed(KEY, *parts())
    reader(first)
    for _ in range(5_000):
        reader(signed(KEY, *parts()))
    with pytest.raises(ReplayedFrame):
        reader(first)


# -- secrets --------------------------------------------------------------------------------------


def test_a_signer_does_not_show_its_key() -> None:
    signer = Signer(KEY)
    reader = Reader()
    info = ConnectionInfo.from_dict(
        {
            **dict.fromkeys(("shell_port", "iopub_port", "stdin_port", "control_port"), 1),
            "hb_port": 1,
            "ip": "127.0.0.1",
            "key": KEY.decode(),
        }
    )
    shown = [signer, reader.decoder, info, info.key, [info.key], vars(reader.decoder)]
    for text in (*map(repr, shown), *map(str, shown), f"{info.key} {info.key!r} {info.key:}"):
        assert KEY.decode() not in text
    assert repr(signer) == "Signer(<key>)"
    assert repr(Signer(b"")) == "Signer(unsigned)"
    assert info.key.reveal() == KEY.decode()
