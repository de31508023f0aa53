"""Finding the backend for a target, a server, or a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from enchannel._protocol.url_secrets import redact_url
from enchannel.abc import CONTRACT_VERSION, Backend
from enchannel.errors import BackendNotFound, MissingDependency

__all__ = ["NamedBackend", "find_backend", "find_backend_of_target"]

ENTRY_POINT_GROUP: Final = "enchannel.backends"
LOCAL_BACKEND: Final = "zmq"

# Reading the entry points of all packages takes 12 ms, which an event loop should not spend per connection.
_loaded: dict[str, Backend] = {}


@dataclass(frozen=True, slots=True)
class NamedBackend:
    """A backend, and the name by which error messages call it: its scheme, or else its class."""

    backend: Backend
    name: str


def find_backend(at: str | None, backend: Backend | str | None) -> NamedBackend:
    """Return the backend for a server, or for this machine if ``at`` is None.

    Args:
        at: As for ``launch``.
        backend: The backend or its name, if it is not chosen by ``at``.

    Raises:
        BackendNotFound, MissingDependency: The backend is not installed, or not completely.
        TypeError: ``backend`` is of another type.
        ValueError: ``at`` is not a URL, or the backend is that of this machine.
    """
    if at is None:
        return _find(backend or LOCAL_BACKEND)
    scheme = _scheme_of(at)
    if scheme == LOCAL_BACKEND:
        raise ValueError(f"at must be a server URL such as https://host, not {redact_url(at)!r}")
    if backend == LOCAL_BACKEND:
        raise ValueError(f"at must be None for the backend {backend!r}, not {redact_url(at)!r}")
    return _find(backend or scheme)


def find_backend_of_target(target: object, backend: Backend | str | None) -> NamedBackend:
    """Return the backend for a target of ``connect`` without ``at``.

    Args:
        target: The target. If it is a URL, its scheme names the backend; all others are of this machine.
        backend: The backend or its name, if it is not chosen by ``target``.

    Raises:
        BackendNotFound, MissingDependency: The backend is not installed, or not completely.
        TypeError: ``backend`` is of another type.
    """
    return _find(backend or _scheme_of(target))


def _scheme_of(target: object) -> str:
    """Return the scheme of a URL, or the name of the local backend for any other target."""
    if isinstance(target, str):
        match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", target)
        if match is not None and not Path(target).exists():
            return match[1].lower()
    return LOCAL_BACKEND


def _find(chosen: object) -> NamedBackend:
    if isinstance(chosen, str):
        if chosen not in _loaded:
            _loaded[chosen] = _load(chosen)
        return NamedBackend(_loaded[chosen], chosen)
    if not isinstance(chosen, Backend):
        raise TypeError(f"backend must be a Backend instance or a name, not {chosen!r}")
    name = type(chosen).__name__
    return NamedBackend(_with_current_contract(chosen, name), name)


def _load(scheme: str) -> Backend:
    # Imported here: it takes a tenth of the time that importing this package does.
    from importlib import metadata

    found = {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    if scheme not in found:
        raise BackendNotFound(
            f"no backend {scheme!r}; installed: {', '.join(sorted(found)) or 'none'}{_install_hint(scheme)}"
        )
    try:
        backend: object = found[scheme].load()
    except MissingDependency:
        raise
    except ImportError as error:
        raise MissingDependency(
            f"the installed backend {scheme!r} cannot be imported: {error}{_install_hint(scheme)}"
        ) from error
    if not isinstance(backend, Backend):
        raise BackendNotFound(
            f"the backend {scheme!r} must be a Backend instance, not {found[scheme].value}"
        )
    return _with_current_contract(backend, scheme)


def _with_current_contract(backend: Backend, name: str) -> Backend:
    if backend.contract != CONTRACT_VERSION:
        raise BackendNotFound(
            f"the backend {name!r} implements contract {backend.contract}, not {CONTRACT_VERSION}; "
            "install a version of it that supports this version of enchannel"
        )
    return backend


def _install_hint(scheme: str) -> str:
    if scheme in ("http", "https", "ws", "wss"):
        return '; pip install "enchannel[websocket]"'
    if scheme.startswith("socketio+"):
        return '; pip install "enchannel[socketio]"'
    return ""
