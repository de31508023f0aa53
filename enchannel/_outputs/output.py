"""Conversion of one message to one output of a notebook cell, in nbformat 4.

Kernels leave out fields and send invalid values; the outputs made here are valid nevertheless.
"""

# No `from __future__ import annotations` here: Python 3.11 would not see NotRequired in strings.
import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict, cast

from enchannel._outputs.terminal import plain_text
from enchannel._protocol.message import AnyMessage
from enchannel.contents import MimeBundle, Transient
from enchannel.frozen import EMPTY, FrozenDict, FrozenList

__all__ = [
    "OUTPUT_TYPES",
    "DisplayKey",
    "DisplayOutput",
    "ErrorOutput",
    "Output",
    "ResultOutput",
    "StreamOutput",
    "data_of",
    "display_id_of",
    "display_output",
    "error_output",
    "execution_count_of",
    "in_short",
    "metadata_of",
    "output_of",
    "stream_name_of",
    "stream_output",
    "stream_text_of",
    "text_of",
    "updated_output_of",
]


class StreamOutput(TypedDict):
    """Text written to ``"stdout"`` or ``"stderr"``."""

    output_type: Literal["stream"]
    name: str
    text: str


class DisplayOutput(TypedDict):
    """A display. Only ``updated_outputs`` sets ``transient``, the display to replace."""

    output_type: Literal["display_data"]
    data: MimeBundle
    metadata: dict[str, Any]
    transient: NotRequired[Transient]


class ResultOutput(TypedDict):
    """The value of the last expression of a cell."""

    output_type: Literal["execute_result"]
    data: MimeBundle
    metadata: dict[str, Any]
    execution_count: int | None


class ErrorOutput(TypedDict):
    """An exception; the lines of the traceback contain ANSI escape sequences."""

    output_type: Literal["error"]
    ename: str
    evalue: str
    traceback: list[str]


Output: TypeAlias = StreamOutput | DisplayOutput | ResultOutput | ErrorOutput
"""One immutable nbformat 4 output. Type checkers narrow it by ``output["output_type"]``."""

DisplayKey: TypeAlias = str | int

OUTPUT_TYPES = ("stream", "display_data", "execute_result", "error")
"""The message types that are one output each."""

_JSON_TYPE = re.compile(r"application/(.*\+)?json")
MAX_REPR_CHARACTERS = 60


def output_of(message: AnyMessage) -> Output | None:
    """Return the message as an output; None for a message of another type."""
    content = message.content
    match message.header.msg_type:
        case "stream":
            output = stream_output(stream_name_of(content), stream_text_of(content))
        case "display_data" | "execute_result" as kind:
            count = execution_count_of(content)
            output = display_output(kind, data_of(content), metadata_of(content), count)
        case "error":
            output = error_output(content)
        case _:
            return None
    return cast("Output", output)


def updated_output_of(message: AnyMessage) -> DisplayOutput | None:
    """Return the new content of a display from an ``update_display_data``, with its ``transient``."""
    if message.header.msg_type != "update_display_data":
        return None
    content = message.content
    shown = display_output("display_data", data_of(content), metadata_of(content))
    output = FrozenDict({**shown, "transient": _dict(content.get("transient"))})
    return cast("DisplayOutput", output)


def stream_output(name: str, text: str) -> FrozenDict:
    """Return a stream output."""
    return FrozenDict({"output_type": "stream", "name": name, "text": text})


def display_output(
    output_type: str, data: FrozenDict, metadata: FrozenDict, execution_count: int | None = None
) -> FrozenDict:
    """Return a display output, or with the type ``"execute_result"`` a result output.

    Only a result output has an execution count.
    """
    shown = {"output_type": output_type, "data": data, "metadata": metadata}
    if output_type == "execute_result":
        return FrozenDict({**shown, "execution_count": execution_count})
    return FrozenDict(shown)


def error_output(content: Mapping[str, Any]) -> FrozenDict:
    """Return an error output, from the content of an error message or of an error reply."""
    traceback = content.get("traceback")
    if not isinstance(traceback, list):
        traceback = FrozenList(filter(None, [_string(traceback)]))
    elif not _all_strings(traceback):
        traceback = FrozenList(map(str, traceback))
    return FrozenDict(
        {
            "output_type": "error",
            "ename": _string(content.get("ename")),
            "evalue": _string(content.get("evalue")),
            "traceback": traceback,
        }
    )


def stream_name_of(content: Mapping[str, Any]) -> str:
    """Return the name of the stream; ``"stdout"`` if it is missing."""
    return _string(content.get("name")) or "stdout"


def stream_text_of(content: Mapping[str, Any]) -> str:
    """Return the text of a stream message; ``""`` if it is missing."""
    return _string(content.get("text"))


def data_of(content: Mapping[str, Any]) -> FrozenDict:
    """Return the MIME bundle as nbformat requires it.

    Values are strings or lists of strings; JSON MIME types may have any value.
    """
    data = _dict(content.get("data"))
    if all(type(value) is str for value in dict.values(data)):
        return data
    return FrozenDict(
        {
            mime: value if _JSON_TYPE.fullmatch(mime) else _text_or_texts(value)
            for mime, value in data.items()
            if value is not None or _JSON_TYPE.fullmatch(mime)
        }
    )


def metadata_of(content: Mapping[str, Any]) -> FrozenDict:
    """Return the metadata of a display."""
    return _dict(content.get("metadata"))


def display_id_of(content: Mapping[str, Any]) -> DisplayKey | None:
    """Return the id by which a display can be updated, or None."""
    display_id = _dict(content.get("transient")).get("display_id")
    return display_id if display_id and isinstance(display_id, (str, int)) else None


def execution_count_of(content: Mapping[str, Any]) -> int | None:
    """Return the number in the prompt, or None."""
    count = content.get("execution_count")
    return count if type(count) is int and count >= 0 else None


def text_of(output: Mapping[str, Any]) -> str:
    """Return an output as plain text, as a terminal would show it."""
    match output.get("output_type"):
        case "stream":
            text = stream_text_of(output)
        case "error":
            text = "\n".join(error_output(output)["traceback"]) or _exception_line(output)
        case _:
            text = _string(data_of(output).get("text/plain"))
    return plain_text(text)


def in_short(output: Mapping[str, Any]) -> str:
    """Return a summary of an output for a ``repr``."""
    output_type = output.get("output_type")
    match output_type:
        case "stream":
            summary = stream_text_of(output)
        case "error":
            summary = _exception_line(output)
        case _:
            data = data_of(output)
            summary = _string(data.get("text/plain")) or ", ".join(data)
    summary = (
        summary if len(summary) <= MAX_REPR_CHARACTERS else f"{summary[:MAX_REPR_CHARACTERS]}…"
    )
    return f"{output_type} {summary!r}"


def _exception_line(error: Mapping[str, Any]) -> str:
    return f"{_string(error.get('ename'))}: {_string(error.get('evalue'))}"


def _dict(value: object) -> FrozenDict:
    return value if isinstance(value, FrozenDict) else EMPTY


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(str, value))
    return "" if value is None else str(value)


def _text_or_texts(value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, list) and _all_strings(value)):
        return value
    return json.dumps(value, ensure_ascii=False)


def _all_strings(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
