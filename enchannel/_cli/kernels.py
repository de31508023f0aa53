"""``enchannel kernels``."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Self

import enchannel as ec
from enchannel._cli.error_text import error_text, reporting_invalid_arguments
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.server_access import server_options
from enchannel._cli.terminal.escapes import strip_escapes
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.spinner import Spinner
from enchannel.backends import redact_url

__all__ = ["kernels"]

SPEC_COLUMNS = {"KERNELSPEC": "name", "LANGUAGE": "language", "NAME": "display_name"}
KERNEL_COLUMNS = {
    "KERNEL": "id",
    "KERNELSPEC": "name",
    "STATE": "state",
    "CONNECTIONS": "connections",
    "LAST ACTIVITY": "last_activity",
}


def kernels(arguments: argparse.Namespace, screen: Screen) -> int:
    """List kernelspecs and running kernels; return the exit code."""
    server: str | None = arguments.at
    options = {} if server is None else server_options(server, arguments)
    shown = nullcontext() if server is None else _progress(server, screen)
    specs: Sequence[ec.KernelspecModel] | None = None
    with _Warnings() as warnings, shown, reporting_invalid_arguments():
        running = ec.list_kernels(server, **options)
        try:
            specs = ec.list_kernelspecs(server, **options)
        except ec.MissingDependency as error:
            warnings.texts.append(error_text(error))
    if arguments.json:
        listing = {
            "kernelspecs": None if specs is None else [_json_fields(spec) for spec in specs],
            "running": [_json_fields(kernel) for kernel in running],
        }
        screen.write(json.dumps(listing, indent=2) + "\n")
    else:
        if specs is not None:
            shown_specs = [_with_error_as_name(spec) for spec in specs]
            _write_table(screen, SPEC_COLUMNS, shown_specs, "no kernelspecs")
            screen.write("\n")
        _write_table(screen, KERNEL_COLUMNS, running, "no running kernels")
    screen.flush()
    for text in warnings.texts:
        screen.print_message(text)
    return ExitCode.OK


def _progress(server: str, screen: Screen) -> Spinner:
    return Spinner(screen.err, f"listing kernels on {redact_url(server)}")


class _Warnings(logging.Handler):
    """Collects warnings of the library, such as those about connection files that cannot be read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def __enter__(self) -> Self:
        logging.getLogger("enchannel").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("enchannel").removeHandler(self)


def _with_error_as_name(spec: ec.KernelspecModel) -> ec.KernelspecModel:
    """Return a broken kernelspec with the reason in place of its name, and any other unchanged."""
    return spec if spec.error is None else replace(spec, display_name=f"broken: {spec.error}")


def _json_fields(model: ec.KernelModel | ec.KernelspecModel) -> Mapping[str, Any]:
    """Return the documented fields of a model, without those of a backend's own subclass."""
    kind = ec.KernelModel if isinstance(model, ec.KernelModel) else ec.KernelspecModel
    values = {field.name: getattr(model, field.name) for field in fields(kind)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def _write_table(
    screen: Screen,
    columns: Mapping[str, str],
    models: Sequence[ec.KernelModel | ec.KernelspecModel],
    if_empty: str,
) -> None:
    """Write a table with one line a model, without the columns of which nothing is known.

    Args:
        screen: Where to write it.
        columns: The attribute of each column, by the head of the column.
        models: The rows.
        if_empty: The text to write if there are no rows.
    """
    if not models:
        screen.write(f"{if_empty}\n")
        return
    table = {
        head: [_cell(getattr(model, attribute)) for model in models]
        for head, attribute in columns.items()
    }
    known = {head: cells for head, cells in table.items() if any(cells)}
    widths = [max(map(len, (head, *cells))) for head, cells in known.items()]
    for line in (tuple(known), *zip(*known.values(), strict=True)):
        padded = ((cell or "?").ljust(width) for cell, width in zip(line, widths, strict=True))
        screen.write("  ".join(padded).rstrip() + "\n")


def _cell(value: object) -> str:
    """Return the text of a value on one line without escape sequences; empty if it is unknown."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        value = value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return " ".join(strip_escapes(str(value)).split())
