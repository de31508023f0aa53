"""The code to run: given as an argument, in a file, or on stdin."""

from __future__ import annotations

import os
import re
import sys
import tokenize
from pathlib import Path

__all__ = ["STDIN", "UnreadableCode", "is_notebook", "read_code"]

STDIN = "-"


class UnreadableCode(Exception):
    """The code cannot be read; the text is a message for the user."""


def is_notebook(argument: str) -> bool:
    """Return True if the CODE of the command line is the path of a notebook."""
    return argument.endswith(".ipynb") and (
        os.path.isfile(argument) or re.fullmatch(r"\S+", argument) is not None
    )


def read_code(argument: str) -> str:
    """Return the code that the CODE of the command line is or names.

    Raises:
        UnreadableCode: the file does not exist, or is not text.
    """
    if argument == STDIN:
        data = b"" if sys.stdin is None else sys.stdin.buffer.read()
        return _decode(data, "stdin")
    path = Path(argument)
    # Path.is_file() raises for code that is too long for a path.
    if os.path.isfile(path):
        return _read_file(path)
    if os.path.isdir(path) and not argument.isidentifier():
        raise UnreadableCode(f"{argument} is a directory")
    if re.fullmatch(r"\S+\.py", argument):
        raise UnreadableCode(f"file {argument} does not exist")
    return argument


def _read_file(path: Path) -> str:
    try:
        if path.suffix == ".py":
            # Detects the encoding from the first lines.
            with tokenize.open(path) as file:
                return file.read()
        return _decode(path.read_bytes(), str(path))
    except OSError as error:
        raise UnreadableCode(f"{path} cannot be read: {error.strerror}") from None
    except (SyntaxError, UnicodeDecodeError):
        raise UnreadableCode(f"{path} is not text in its declared encoding") from None


def _decode(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableCode(f"{source} is not UTF-8 text") from None
