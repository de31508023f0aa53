"""The code that is to be run: as it stands, from a file, or from stdin."""

from __future__ import annotations

import re
import sys
import tokenize
from pathlib import Path

__all__ = ["STDIN", "ProgramUnreadable", "read_program"]

STDIN = "-"


class ProgramUnreadable(Exception):
    """There is no code to run; the text says why."""


def read_program(argument: str) -> str:
    """What the command line calls CODE.

    Raises:
        ProgramUnreadable: it names a file that is not there, or not text.
    """
    if argument == STDIN:
        data = b"" if sys.stdin is None else sys.stdin.buffer.read()
        return _decoded(data, "what came on stdin")
    path = Path(argument)
    if _is_file(path):
        return _read(path)
    if re.fullmatch(r"\S+\.py", argument):
        raise ProgramUnreadable(f"there is no file {argument}")
    return argument


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # code can be longer than a path, and have other characters
        return False


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
