"""Notebooks as JSON in nbformat form; the nbformat library upgrades, validates and writes it."""

from commutable._format.reading import from_dict, parse_json, read_notebook
from commutable._format.writing import (
    IncrementalWriter,
    cell_to_dict,
    output_to_dict,
    to_bytes,
    to_dict,
)

__all__ = [
    "IncrementalWriter",
    "cell_to_dict",
    "from_dict",
    "output_to_dict",
    "parse_json",
    "read_notebook",
    "to_bytes",
    "to_dict",
]
