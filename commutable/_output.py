"""Outputs made by hand, in the immutable nbformat form of the outputs that a kernel sends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from commutable._cell import frozen_dict
from commutable._document_errors import InvalidNotebook
from enchannel import DisplayOutput, ErrorOutput, ResultOutput, StreamOutput
from enchannel.frozen import EMPTY, FrozenDict, FrozenList

__all__ = ["display_output", "error_output", "result_output", "stream_output"]

JSON_TYPE = re.compile(r"application/(.*\+)?json")


def stream_output(name: str, text: str) -> StreamOutput:
    """Create the output of text that was written to a stream.

    Args:
        name: ``"stdout"`` or ``"stderr"``.
        text: The text.

    Raises:
        InvalidNotebook: an argument is not a string.

    Example:
        >>> cell = cm.code_cell("print(42)", outputs=[cm.stream_output("stdout", "42\\n")])
        >>> cell.outputs.text
        '42\\n'
    """
    output = {
        "output_type": "stream",
        "name": _string(name, "name"),
        "text": _string(text, "text"),
    }
    return cast("StreamOutput", FrozenDict(output))


def display_output(
    data: Mapping[str, Any], *, metadata: Mapping[str, Any] = EMPTY
) -> DisplayOutput:
    """Create a display.

    Args:
        data: The content by MIME type: text, base64 text for binary types, any JSON for JSON types;
            copied and frozen.
        metadata: Display options by MIME type, such as the width of an image; copied and frozen.

    Raises:
        InvalidNotebook: an argument is invalid.
    """
    output = {
        "output_type": "display_data",
        "data": _bundle(data),
        "metadata": frozen_dict(metadata, "metadata"),
    }
    return cast("DisplayOutput", FrozenDict(output))


def result_output(
    data: Mapping[str, Any],
    execution_count: int | None = None,
    *,
    metadata: Mapping[str, Any] = EMPTY,
) -> ResultOutput:
    """Create the output of the value of the last expression of a cell.

    Args:
        data, metadata: As in ``display_output``.
        execution_count: The number in the prompt.

    Raises:
        InvalidNotebook: an argument is invalid.
    """
    count = execution_count
    if count is not None and (type(count) is not int or count < 0):
        raise InvalidNotebook(f"execution_count must be a non-negative int or None, not {count!r}")
    output = {
        "output_type": "execute_result",
        "data": _bundle(data),
        "metadata": frozen_dict(metadata, "metadata"),
        "execution_count": count,
    }
    return cast("ResultOutput", FrozenDict(output))


def error_output(ename: str, evalue: str, traceback: Iterable[str] = ()) -> ErrorOutput:
    """Create the output of an exception.

    Args:
        ename: The name of the exception's class.
        evalue: The text of the exception.
        traceback: The lines of the traceback.

    Raises:
        InvalidNotebook: an argument is invalid.
    """
    if isinstance(traceback, str):
        raise InvalidNotebook("traceback must be a sequence of lines, not a str")
    output = {
        "output_type": "error",
        "ename": _string(ename, "ename"),
        "evalue": _string(evalue, "evalue"),
        "traceback": FrozenList(_string(line, "a line of traceback") for line in traceback),
    }
    return cast("ErrorOutput", FrozenDict(output))


def _bundle(data: Mapping[str, Any]) -> FrozenDict:
    bundle = frozen_dict(data, "data")
    for mime_type, content in bundle.items():
        if not JSON_TYPE.fullmatch(mime_type):
            _string(content, f"data[{mime_type!r}]")
    return bundle


def _string(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidNotebook(f"{name} must be a str, not {value!r}")
    return value
