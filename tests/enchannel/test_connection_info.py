"""Connection info: reading and writing connection files, and errors for invalid ones."""

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import enchannel as ec
from enchannel import ChannelName, ConnectionInfo, Secret
from tests.rigs.frames import KEY

SECRET = KEY.decode()
Z85 = "".join(f"abcd{n}" for n in range(8))
FIELDS: dict[str, Any] = {
    "transport": "tcp",
    "ip": "127.0.0.1",
    "shell_port": 50001,
    "iopub_port": 50002,
    "stdin_port": 50003,
    "control_port": 50004,
    "hb_port": 50005,
    "key": SECRET,
    "signature_scheme": "hmac-sha512",
    "kernel_name": "python3",
}
PORTS = [name for name in FIELDS if name.endswith("_port")]
CURVE = {"curve_publickey": Z85, "curve_secretkey": Z85[::-1]}


def info(**changes: Any) -> ConnectionInfo:
    return ConnectionInfo.from_dict({**FIELDS, **changes})


def failure(fields: dict[str, Any]) -> str:
    """Return the text of the error for these fields, after a check that it does not contain the key."""
    with pytest.raises(ec.ConnectionFailed) as raised:
        ConnectionInfo.from_dict(fields, source="the connection file k.json")
    error: BaseException | None = raised.value
    while error is not None:
        assert SECRET not in f"{error} {error!r} {vars(error)}"
        assert type(error) is ec.ConnectionFailed
        error = error.__context__
    text = str(raised.value)
    assert text.startswith(("the connection file k.json has ", "the connection file k.json: "))
    return text


def test_connection_info_has_all_fields() -> None:
    read = info(**CURVE)
    assert read.transport == "tcp"
    assert read.ip == "127.0.0.1"
    assert read.ports == {
        ChannelName.SHELL: 50001,
        ChannelName.IOPUB: 50002,
        ChannelName.STDIN: 50003,
        ChannelName.CONTROL: 50004,
        ChannelName.HEARTBEAT: 50005,
    }
    assert read.key == Secret(SECRET)
    assert read.signature_scheme == "hmac-sha512"
    assert read.kernel_name == "python3"
    assert read.curve_publickey == Z85
    assert read.curve_secretkey == Secret(Z85[::-1])
    assert read.extra == {}


def test_optional_fields_have_defaults() -> None:
    least = {name: FIELDS[name] for name in ("ip", *PORTS)}
    for fields in (least, {**dict.fromkeys(FIELDS), **least, "transport": "tcp"}):
        read = ConnectionInfo.from_dict(fields)
        assert read.transport == "tcp"
        assert read.signature_scheme == "hmac-sha256"
        assert not read.key
        assert read.kernel_name == ""
        assert read.curve_publickey == ""


@pytest.mark.parametrize(
    ("ip", "url"),
    [
        ("127.0.0.1", "tcp://127.0.0.1:50001"),
        ("example.org", "tcp://example.org:50001"),
        ("*", "tcp://127.0.0.1:50001"),
        ("0.0.0.0", "tcp://127.0.0.1:50001"),  # noqa: S104  # nothing is bound
        ("::1", "tcp://[::1]:50001"),
        ("[::1]", "tcp://[::1]:50001"),
        ("::", "tcp://[::1]:50001"),
        ("fe80::1%eth0", "tcp://[fe80::1%eth0]:50001"),
    ],
)
def test_url_over_tcp(ip: str, url: str) -> None:
    assert info(ip=ip).url(ChannelName.SHELL) == url


def test_url_over_ipc() -> None:
    read = info(transport="ipc", ip="/run/user/0/kernel-1-ipc", hb_port=5)
    assert read.url(ChannelName.HEARTBEAT) == "ipc:///run/user/0/kernel-1-ipc-5"


def test_ipc_port_may_exceed_65535() -> None:
    assert info(transport="ipc", shell_port=1_000_000).ports[ChannelName.SHELL] == 1_000_000


def test_key_may_be_bytes() -> None:
    """As in the dicts of jupyter_client."""
    read = info(key=KEY, curve_publickey=Z85.encode(), curve_secretkey=Z85.encode())
    assert read == info(curve_publickey=Z85, curve_secretkey=Z85)
    assert info(key="ключ".encode()).key == Secret("ключ")


@given(
    st.dictionaries(
        st.text(max_size=9).filter(lambda name: name not in FIELDS and name not in CURVE),
        st.none() | st.integers() | st.text(max_size=9) | st.lists(st.text(max_size=9), max_size=3),
        max_size=5,
    ),
    st.booleans(),
)
def test_connection_info_round_trips(extra: dict[str, Any], curve: bool) -> None:
    fields = {**FIELDS, **(CURVE if curve else {}), **extra}
    read = ConnectionInfo.from_dict(fields)
    assert read.extra == extra
    assert read.to_dict() == fields
    assert ConnectionInfo.from_dict(read.to_dict()) == read
    assert json.loads(json.dumps(read.to_dict())) == fields


def test_unknown_fields_are_kept() -> None:
    read = info(jupyter_session="/home/ada/a.ipynb", new={"nested": [1]})
    assert read.extra == {"jupyter_session": "/home/ada/a.ipynb", "new": {"nested": [1]}}
    with pytest.raises(TypeError):
        read.extra["new"]["nested"].append(2)


@pytest.mark.parametrize("name", ["ip", *PORTS])
@pytest.mark.parametrize("missing", [True, False], ids=["missing", "null"])
def test_missing_field_error_names_field(name: str, missing: bool) -> None:
    fields = {**FIELDS, name: None}
    if missing:
        del fields[name]
    assert failure(fields).endswith(f"has no {name}")


@pytest.mark.parametrize("name", ["ip", "key", "signature_scheme", "kernel_name", *CURVE])
@pytest.mark.parametrize("odd", [5, 0, 1.5, True, False, [], [SECRET], {"a": SECRET}])
def test_non_text_field_error_names_field(name: str, odd: object) -> None:
    assert failure({**FIELDS, **CURVE, name: odd}).endswith(f": {name} must be text")


@pytest.mark.parametrize("odd", [b"\xff" + KEY, SECRET + "\ud800"], ids=["bytes", "surrogate"])
@pytest.mark.parametrize("name", ["ip", "key", *CURVE])
def test_non_utf8_field_error_names_field(name: str, odd: object) -> None:
    assert failure({**FIELDS, **CURVE, name: odd}).endswith(f": {name} must be text")


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize("odd", [0, -1, 1.5, True, "50001", "", [], {}])
def test_invalid_port_error_names_field(name: str, odd: object) -> None:
    assert name in failure({**FIELDS, name: odd})


@pytest.mark.parametrize("name", PORTS)
def test_too_high_tcp_port_error_names_field(name: str) -> None:
    text = failure({**FIELDS, name: 65_536})
    assert text.endswith(f": {name} must be at most 65535, not 65536")
    assert info(**{name: 65_535})


@pytest.mark.parametrize("odd", ["udp", "TCP", "", None, 5, [], {}])
def test_unknown_transport_error_names_it(odd: object) -> None:
    text = failure({**FIELDS, "transport": odd})
    assert text.endswith(f": transport must be tcp or ipc, not {odd!r}")


@pytest.mark.parametrize("odd", ["hmac-sha257", "sha256", "hmac-shake_128", "none"])
def test_unknown_signature_scheme_error_names_it(odd: str) -> None:
    text = failure({**FIELDS, "signature_scheme": odd})
    assert "signature_scheme must be" in text
    assert odd in text


@pytest.mark.parametrize("name", CURVE)
@pytest.mark.parametrize("other", ["", None])
def test_single_curve_key_is_an_error(name: str, other: str | None) -> None:
    text = failure({**FIELDS, **CURVE, name: other})
    assert text.endswith(": curve_publickey and curve_secretkey must both be set, or neither")


@pytest.mark.parametrize("name", CURVE)
@pytest.mark.parametrize("odd", ["x", Z85 + "x", Z85[:-1] + " ", Z85[:-1] + '"', Z85[:-1] + "é"])
def test_non_z85_curve_key_error_names_field(name: str, odd: str) -> None:
    text = failure({**FIELDS, **CURVE, name: odd})
    assert name in text
    assert odd not in text


@given(st.dictionaries(st.sampled_from([*FIELDS, *CURVE]), st.text() | st.integers() | st.none()))
def test_any_fields_raise_only_connection_failed(changes: dict[str, Any]) -> None:
    try:
        read = ConnectionInfo.from_dict({**FIELDS, **changes})
    except ec.ConnectionFailed:
        return
    assert all(read.url(name).startswith(f"{read.transport}://") for name in ChannelName)
    assert SECRET not in repr(read)


def test_secrets_are_not_in_reprs() -> None:
    read = info(**CURVE)
    for shown in (repr(read), str(read), f"{read}", repr([read]), repr(vars(read.key.__class__))):
        assert SECRET not in shown
        assert CURVE["curve_secretkey"] not in shown
    assert "<key>" in repr(read)
    assert repr(Secret("")) == str(Secret("")) == "<no key>"


def test_secrets_compare_but_are_not_text() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert not Secret("")
    with pytest.raises(TypeError):
        json.dumps(Secret(SECRET))
    with pytest.raises(TypeError):
        _ = "key: " + Secret(SECRET)  # type: ignore[operator]
    for copied in (copy.deepcopy(Secret("a")), pickle.loads(pickle.dumps(Secret("a")))):  # noqa: S301
        assert copied == Secret("a")


def test_connection_info_is_immutable() -> None:
    with pytest.raises(AttributeError):
        info().ip = "10.0.0.1"  # type: ignore[misc]
