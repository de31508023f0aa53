"""Relays and logs of a newer enchannel are refused, those of an older one are accepted."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

import enchannel as ec
from enchannel_socketio import connect, list_kernels
from enchannel_socketio.relay import _disk_store, _socketio_server, make_store
from tests.enchannel_socketio.conftest import running
from tests.rigs import DEADLINE
from tests.rigs.relay import TOKEN


def write_kernel(directory: Path, **fields: Any) -> None:
    kernel = directory / "a-kernel"
    kernel.mkdir()
    (kernel / "kernel.json").write_text(json.dumps({"id": "a-kernel", "name": "python3", **fields}))


def test_newer_protocol_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_socketio_server, "PROTOCOL_VERSION", 2)
    write_kernel(tmp_path)
    with running(store=make_store(str(tmp_path))) as relay:
        with pytest.raises(
            ec.ConnectionFailed, match=r"requires a newer enchannel \(protocol 2; .* 1"
        ):
            connect(relay.url, "a-kernel", token=TOKEN, timeout=DEADLINE)


def test_log_of_newer_format_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_kernel(tmp_path, format=_disk_store.LOG_FORMAT_VERSION + 1)
    with caplog.at_level(logging.WARNING, logger="enchannel.socketio.relay"):
        with running(store=make_store(str(tmp_path))) as relay:
            assert list_kernels(relay.url, token=TOKEN) == ()
    assert "a-kernel was written by a newer enchannel and was skipped" in caplog.text
    assert (tmp_path / "a-kernel" / "kernel.json").exists()


def test_log_without_format_is_read(tmp_path: Path) -> None:
    write_kernel(tmp_path)
    with running(store=make_store(str(tmp_path))) as relay:
        assert [model.id for model in list_kernels(relay.url, token=TOKEN)] == ["a-kernel"]
