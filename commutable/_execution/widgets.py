"""The state of Jupyter widgets, and the outputs that Output widgets capture, as in nbclient."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import enchannel as ec
from commutable._format import output_to_dict
from enchannel import messages
from enchannel.frozen import thaw

__all__ = ["Widgets"]

TARGET = "jupyter.widget"
OUTPUT_MODEL = ("@jupyter-widgets/output", "OutputModel")
CAPTURED_TYPES = frozenset({"stream", "display_data", "execute_result", "error", "clear_output"})
STATE_TYPE = "application/vnd.jupyter.widget-state+json"


class Widgets:
    """The widgets of a kernel during one run of a notebook.

    An Output widget captures the outputs of a request while its ``msg_id`` is the id of that request. Its
    outputs are then part of its state, which is sent to the kernel as a front end would do.

    Args:
        send: Sends a message to the kernel.
    """

    def __init__(self, send: Callable[[ec.AnyMessage], None]) -> None:
        self._send = send
        self._states: dict[str, dict[str, Any]] = {}
        self._buffers: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        self._outputs: dict[str, ec.Outputs] = {}
        # The Output widgets that capture each request; the last one gets its outputs.
        self._capturing: dict[str, list[str]] = {}

    def add(self, message: ec.AnyMessage) -> bool:
        """Apply a message; return True if an Output widget captures it, instead of the cell."""
        kind = message.header.msg_type
        if kind in ("comm_open", "comm_msg"):
            self._on_comm_message(message)
        elif kind == "update_display_data":
            for comm_id, outputs in tuple(self._outputs.items()):
                self._change_outputs(comm_id, outputs.update(message), message)
        if kind not in CAPTURED_TYPES or not self._capturing:
            return False
        capturing = self._capturing.get(message.parent_header.msg_id)
        if not capturing:
            return False
        outputs = self._outputs.get(capturing[-1], ec.Outputs(terminal=True))
        self._change_outputs(capturing[-1], outputs.add(message), message)
        return True

    def added_to(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the metadata of a notebook with the state of the widgets, if there are any."""
        if not self._states:
            return metadata
        states = {
            id: self._model(id, state)
            for id, state in self._states.items()
            if "_model_name" in state
        }
        content = {"state": states, "version_major": 2, "version_minor": 0}
        return {**metadata, "widgets": {STATE_TYPE: content}}

    def _model(self, comm_id: str, state: Mapping[str, Any]) -> dict[str, Any]:
        names = ("model_name", "model_module", "model_module_version")
        model = {**{name: state.get(f"_{name}") for name in names}, "state": state}
        if comm_id in self._buffers:
            model["buffers"] = list(self._buffers[comm_id].values())
        return model

    def _on_comm_message(self, message: ec.AnyMessage) -> None:
        comm_id, data = message.content.get("comm_id"), message.content.get("data")
        is_new = message.header.msg_type == "comm_open"
        if is_new and message.content.get("target_name") != TARGET:
            return
        if not (isinstance(comm_id, str) and isinstance(data, dict)):
            return
        state = data.get("state")
        if not isinstance(state, dict) or not (is_new or comm_id in self._states):
            return
        known = self._states.setdefault(comm_id, {})
        known.update(thaw(state))
        self._add_buffers(comm_id, data, message.buffers)
        if (known.get("_model_module"), known.get("_model_name")) == OUTPUT_MODEL:
            self._update_capture(comm_id, state)

    def _add_buffers(self, comm_id: str, data: Mapping[str, Any], buffers: Any) -> None:
        paths = data.get("buffer_paths")
        if not isinstance(paths, list):
            return
        for path, buffer in zip(paths, buffers, strict=False):
            if isinstance(path, list):
                self._buffers.setdefault(comm_id, {})[tuple(path)] = {
                    "data": base64.b64encode(buffer).decode(),
                    "encoding": "base64",
                    "path": list(path),
                }

    def _update_capture(self, comm_id: str, state: Mapping[str, Any]) -> None:
        outputs = state.get("outputs")
        if isinstance(outputs, list):
            try:
                self._outputs[comm_id] = ec.Outputs.from_nbformat(outputs, terminal=True)
            except (ec.EnchannelError, TypeError):
                self._outputs[comm_id] = ec.Outputs(terminal=True)
        if "msg_id" not in state:
            return
        for capturing in self._capturing.values():
            if comm_id in capturing:
                capturing.remove(comm_id)
        if isinstance(msg_id := state["msg_id"], str) and msg_id:
            self._capturing.setdefault(msg_id, []).append(comm_id)
        self._capturing = {id: some for id, some in self._capturing.items() if some}

    def _change_outputs(self, comm_id: str, outputs: ec.Outputs, cause: ec.AnyMessage) -> None:
        before = self._outputs.get(comm_id)
        self._outputs[comm_id] = outputs
        if outputs.is_unchanged_from(before or ec.Outputs()):
            return
        captured = [_in_order(output_to_dict(output)) for output in outputs]
        self._states[comm_id]["outputs"] = captured
        update = {"method": "update", "state": {"outputs": captured}, "buffer_paths": []}
        self._send(messages.comm_msg(comm_id, update, parent=cause.parent_header))


def _in_order(output: dict[str, Any]) -> dict[str, Any]:
    """Return an output with its fields in the order of nbclient, in which a kernel may print them."""
    first: dict[str, Any] = {
        name: output[name] for name in ("output_type", "metadata") if name in output
    }
    return {**first, **output}
