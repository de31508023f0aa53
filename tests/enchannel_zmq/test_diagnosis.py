"""Diagnoses of failed connections, and their texts."""

from collections.abc import Callable

import pytest

from enchannel import ChannelName, ConnectionInfo
from enchannel_zmq._diagnosis import EXPLANATIONS, ConnectDiagnostics, Diagnosis

ALL = list(ChannelName)


def info(**changes: object) -> ConnectionInfo:
    ports = {"shell": 1, "iopub": 2, "stdin": 3, "control": 4, "hb": 5}
    fields = {f"{name}_port": port for name, port in ports.items()}
    return ConnectionInfo.from_dict({"ip": "127.0.0.1", "key": "k", **fields, **changes})


CURVE = {"curve_publickey": "p" * 40, "curve_secretkey": "s" * 40}


@pytest.mark.parametrize(
    ("changes", "accepted", "expected"),
    [
        ({}, False, Diagnosis.NO_CONNECTION),
        ({"ip": "a-host"}, False, Diagnosis.NO_CONNECTION_TO_HOST),
        ({"ip": "localhost"}, False, Diagnosis.NO_CONNECTION),
        ({"transport": "ipc", "ip": "/nowhere/k"}, False, Diagnosis.NO_IPC_SOCKET),
        ({}, True, Diagnosis.NO_HANDSHAKE_UNENCRYPTED),
        (CURVE, True, Diagnosis.NO_HANDSHAKE_ENCRYPTED),
    ],
)
def test_diagnosis_of_sockets_that_do_not_connect(
    changes: dict[str, object], accepted: bool, expected: Diagnosis
) -> None:
    diagnostics = ConnectDiagnostics(info(**changes), "1")
    if accepted:
        diagnostics.on_connected(ChannelName.SHELL)
    diagnostics.on_closed(ChannelName.SHELL)
    assert diagnostics.diagnose(ALL) is expected


@pytest.mark.parametrize("end", [ConnectDiagnostics.on_closed, ConnectDiagnostics.on_connected])
def test_handshake_clears_earlier_failure(
    end: Callable[[ConnectDiagnostics, ChannelName], None],
) -> None:
    diagnostics = ConnectDiagnostics(info(), "1")
    end(diagnostics, ChannelName.SHELL)
    diagnostics.on_handshake(ChannelName.SHELL)
    assert diagnostics.diagnose([]) is Diagnosis.NO_IOPUB_MESSAGE


def test_every_diagnosis_has_cause_and_remedy() -> None:
    assert set(EXPLANATIONS) == set(Diagnosis)
    assert all(cause and remedy for cause, remedy in EXPLANATIONS.values())


def test_explanation_names_channels_and_host() -> None:
    error = ConnectDiagnostics(info(ip="a-host"), "1").explain(2.0, [ChannelName.CONTROL])
    assert str(error) == (
        "connecting to kernel 1 failed: no answer within 2 s on control (tcp://a-host:4): "
        "connection refused or no response; check that the host a-host exists, that the kernel is "
        "running, and that its ports are correct"
    )
