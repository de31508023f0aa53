"""Signatures: their format, their verification, and replays."""

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
def test_unknown_scheme_raises(scheme: str) -> None:
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
def test_wrong_signature_is_rejected(wrong: bytes) -> None:
    made = signed(KEY, *parts())
    made[1] = wrong
    with pytest.raises(InvalidSignature, match="iopub"):
        Reader()(made)


def test_missing_signature_error_says_unsigned() -> None:
    with pytest.raises(InvalidSignature, match="is not signed"):
        Reader()(signed(b"", *parts()))


def test_without_key_all_messages_are_accepted() -> None:
    reader = Reader(b"")
    for sent in (b"", b"whatever", b"whatever"):
        made = signed(b"", *parts("stream"))
        made[1] = sent
        assert reader(made).header.msg_type == "stream"
    assert not Signer(b"").signs


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the result of compare_digest decides."""
    compared: list[tuple[bytes, bytes]] = []
    verdict = True

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return verdict

    monkeypatch.setattr("hmac.compare_digest", compare)
    right, wrong = signed(KEY, *parts()), signed(b"another", *parts())
    Reader()(wrong)
    assert set(compared.pop()) == {wrong[1], signature(KEY, wrong[2:6])}
    verdict = False
    with pytest.raises(InvalidSignature):
        Reader()(right)
    assert len(compared) == 1


def test_rejection_hides_the_valid_signature() -> None:
    wrong = signed(b"another", *parts())
    with pytest.raises(InvalidSignature) as raised:
        Reader()(wrong)
    shown = f"{raised.value} {raised.value!r} {raised.value.__context__!r}"
    assert signature(KEY, wrong[2:6]).decode() not in shown


# -- replays --------------------------------------------------------------------------------------


def test_replay_on_same_socket_is_rejected() -> None:
    reader, made = Reader(), signed(KEY, *parts())
    reader([b"topic", *made])
    for prefix in ([], [b"topic"], [b"another", b"topic"]):
        with pytest.raises(ReplayedFrame):
            reader([*prefix, *made])
    # Other buffers do not make it a new message.
    with pytest.raises(ReplayedFrame):
        reader([*made, b"buffer"])


def test_replay_guards_are_per_socket() -> None:
    """ipykernel sends shutdown_reply on control and on iopub."""
    signer, made = Signer(KEY), signed(KEY, *parts("shutdown_reply"))
    names = ChannelName.CONTROL, ChannelName.IOPUB, ChannelName.CONTROL
    for decoder in [Decoder(name, signer) for name in names]:
        assert decoder.decode(made).header.msg_type == "shutdown_reply"


def test_invalid_signature_is_not_remembered() -> None:
    """Otherwise unsigned data could displace remembered signatures, or block future messages."""
    reader, made = Reader(), signed(KEY, *parts("stream"))
    stolen = [*made[:5], b'{"text": "another"}']
    with pytest.raises(InvalidSignature):
        reader(stolen)
    assert reader(made).header.msg_type == "stream"


def test_malformed_message_replay_is_rejected() -> None:
    reader, made = Reader(), signed(KEY, *parts()[:3], b"[")
    for _ in range(2):
        with pytest.raises(RejectedFrame):
            reader(made)


def rejects(guard: ReplayGuard, sign: bytes) -> bool:
    try:
        guard.raise_if_replayed(sign)
    except ReplayedFrame:
        return True
    return False


@given(st.integers(1, 20), st.lists(st.integers(0, 60).map(lambda n: b"%d" % n)))
def test_replay_guard_forgets_old_signatures(size: int, sent: list[bytes]) -> None:
    guard = ReplayGuard(size)
    accepted: list[bytes] = []
    for sign in sent:
        refused = rejects(guard, sign)
        if sign in accepted[-size:]:
            assert refused
        if sign not in accepted[-2 * size :]:
            assert not refused
        if not refused:
            accepted.append(sign)


def test_replay_guard_memory_is_bounded() -> None:
    guard = ReplayGuard(100)
    for n in range(10_000):
        guard.raise_if_replayed(b"%d" % n)
        assert len(guard._recent) + len(guard._older) <= 200
    assert rejects(guard, b"9999")
    assert not rejects(guard, b"0")


def test_decoder_remembers_thousands_of_signatures() -> None:
    reader = Reader()
    first = signed(KEY, *parts())
    reader(first)
    for _ in range(5_000):
        reader(signed(KEY, *parts()))
    with pytest.raises(ReplayedFrame):
        reader(first)


# -- secrets --------------------------------------------------------------------------------------


def test_signer_repr_hides_key() -> None:
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
