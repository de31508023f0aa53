"""Finding the backend for a target, a server, or a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from enchannel._protocol.url_secrets import redact_url
from enchannel.abc import CONTRACT_VERSION, Backend
from enchannel.errors import BackendNotFound, MissingDependency

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

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
            # "localhost:8888" would otherwise be a URL whose scheme is localhost.
            if re.match(r":\d+(/|$)", target[match.end(1) :]):
                raise ValueError(
                    f"a server URL must begin with a scheme; write http://{redact_url(target)}"
                )
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

    installed = list(metadata.entry_points(group=ENTRY_POINT_GROUP))
    # By value: two distributions may name one object.
    found = {entry.value: entry for entry in installed if entry.name == scheme}
    if not found:
        names = ", ".join(sorted({entry.name for entry in installed})) or "none"
        raise BackendNotFound(f"no backend {scheme!r}; installed: {names}{_install_hint(scheme)}")
    if len(found) > 1:
        origins = " and ".join(sorted(map(_origin_of, found.values())))
        raise BackendNotFound(
            f"the backend {scheme!r} is ambiguous: {origins} provide it; uninstall all but one of them, "
            "or pass backend=INSTANCE"
        )
    (entry,) = found.values()
    try:
        backend: object = entry.load()
    except MissingDependency:
        raise
    except ImportError as error:
        raise MissingDependency(
            f"the installed backend {scheme!r} cannot be imported: {error}{_install_hint(scheme)}"
        ) from error
    except Exception as error:  # of a module of somebody else
        raise BackendNotFound(
            f"loading the backend {scheme!r} from {_origin_of(entry)} failed: "
            f"{type(error).__name__}: {error}; update or uninstall that package"
        ) from error
    if not isinstance(backend, Backend):
        raise BackendNotFound(
            f"the backend {scheme!r} must be a Backend instance, not {entry.value}"
        )
    return _with_current_contract(backend, scheme)


def _origin_of(entry: EntryPoint) -> str:
    """Return the value of an entry point with the distribution that declares it."""
    return f"{entry.value} of {entry.dist.name}" if entry.dist is not None else entry.value


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
