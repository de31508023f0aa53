"""Test reports that a parallel worker can send: execnet raises for a text with lone surrogates."""

from collections.abc import Generator
from typing import Any

import pytest

__all__ = ["pytest_report_to_serializable"]


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape lone surrogates in a report, such as those of a failing example of a property-based test."""
    report = yield
    return _escaped(report)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_escaped, value))
    return value
