"""Execution times in the metadata of a cell, under the keys that JupyterLab uses."""

from __future__ import annotations

from collections.abc import Mapping

from enchannel import AnyMessage
from enchannel.frozen import FrozenDict

__all__ = ["TIMING_KEY", "ExecutionTimes"]

TIMING_KEY = "execution"
"""The key of the execution times in the metadata of a cell."""


class ExecutionTimes:
    """Collects the times of one cell from the dates of its messages."""

    def __init__(self) -> None:
        self._times: dict[str, str] = {}

    def add_output(self, message: AnyMessage) -> None:
        """Record the time of a ``status`` or ``execute_input`` message; ignore others."""
        match message.header.msg_type:
            case "status":
                name = f"iopub.status.{message.content.get('execution_state')}"
            case "execute_input":
                name = "iopub.execute_input"
            case _:
                return
        if message.header.date:
            self._times[name] = message.header.date

    def add_reply(self, reply: AnyMessage) -> None:
        """Record the times in an ``execute_reply``."""
        started = reply.metadata.get("started")
        if isinstance(started, str):
            self._times["shell.execute_reply.started"] = started
        if reply.header.date:
            self._times["shell.execute_reply"] = reply.header.date

    def added_to(self, metadata: Mapping[str, object]) -> Mapping[str, object]:
        """Return the metadata with the times added, if there are any."""
        if not self._times:
            return metadata
        return FrozenDict({**metadata, TIMING_KEY: FrozenDict(self._times)})
