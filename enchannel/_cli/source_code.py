"""The code that is to be run: as it stands, from a file, or from stdin."""

from __future__ import annotations

import os
import re
import sys
import tokenize
from pathlib import Path

__all__ = ["STDIN", "ProgramUnreadable", "is_notebook", "read_program"]

STDIN = "-"


class ProgramUnreadable(Exception):
    """There is no code to run; the text says why."""


def is_notebook(argument: str) -> bool:
    """Whether what the command line calls CODE is a notebook's file."""
    return argument.endswith(".ipynb") and (
        os.path.isfile(argument) or re.fullmatch(r"\S+", argument) is not None
    )


def read_program(argument: str) -> str:
    """What the command line calls CODE.

    Raises:
        ProgramUnreadable: it names a file that is not there, or not text.
    """
    if argument == STDIN:
        data = b"" if sys.stdin is None else sys.stdin.buffer.read()
        return _decoded(data, "what came on stdin")
    path = Path(argument)
    if os.path.isfile(path):  # unlike a Path's it takes any code, however long
        return _read(path)
    if os.path.isdir(path) and not argument.isidentifier():
        raise ProgramUnreadable(f"{argument} is a directory")
    if re.fullmatch(r"\S+\.py", argument):
        raise ProgramUnreadable(f"there is no file {argument}")
    return argument


def _read(path: Path) -> str:
    try:
        if path.suffix == ".py":
            with tokenize.open(path) as file:  # its first lines may say how it is encoded
                return file.read()
        return _decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise ProgramUnreadable(f"{path} cannot be read: {error.strerror}") from None
    except (SyntaxError, UnicodeDecodeError):
        raise ProgramUnreadable(f"{path} is not text in the encoding that it claims") from None


def _decoded(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ProgramUnreadable(f"{what} is not UTF-8") from None
