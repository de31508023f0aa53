"""Reading and checking kernelspecs; imported when a kernel is launched or kernelspecs are listed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from jupyter_client.kernelspec import (
    NATIVE_KERNEL_NAME,
    KernelSpec,
    KernelSpecManager,
    NoSuchKernel,
)
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_core.paths import jupyter_path

from enchannel import KernelspecModel
from enchannel.errors import EnchannelError, LaunchFailed
from enchannel.frozen import FrozenDict
from enchannel_zmq._extras import PYTHON_KERNEL

__all__ = ["InvalidKernelspec", "Kernelspecs", "describe", "read_kernelspecs"]

log = logging.getLogger("enchannel.zmq")

FILE_NAME = "kernel.json"
LOCAL_PROVISIONER = "local-provisioner"
INTERRUPT_MODES = ("signal", "message")
TEXT_FIELDS = ("display_name", "language", "mimetype", "name", "kernel_protocol_version")


class InvalidKernelspec(Exception):
    """A ``kernel.json`` cannot be used; the text names the file and the reason."""


class Kernelspec(KernelSpec):
    """A kernelspec whose file is checked completely when it is read."""

    @classmethod
    def from_resource_dir(cls, resource_dir: str) -> Self:
        """Read ``kernel.json`` in a directory.

        Raises:
            InvalidKernelspec: The file cannot be used.
        """
        path = Path(resource_dir, FILE_NAME)
        fields = _read(path)
        _validate(path, fields)
        # Others would be deprecated by traitlets.
        known = {name: fields[name] for name in cls.class_trait_names() if name in fields} | {
            "resource_dir": resource_dir
        }
        return cls(**known)


class Kernelspecs(KernelSpecManager):
    """The kernelspecs of this machine."""

    def __init__(self) -> None:
        super().__init__(kernel_spec_class=Kernelspec)
        directories = [*jupyter_path("kernels"), *_ipython_directories()]
        self.kernel_dirs = [path for path in directories if _is_readable(path)]

    def find_kernel_specs(self) -> dict[str, str]:
        """Return the directory of each kernelspec by its name, also of one whose file is not regular.

        jupyter_client leaves the latter out, and prints a warning for each unusual name.
        """
        regular, unreadable = self._search()
        return {**unreadable, **regular}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return a kernelspec.

        Raises:
            InvalidKernelspec: The file cannot be used.
            NoSuchKernel: No kernelspec has this name, or its provisioner is not installed.
        """
        regular, unreadable = self._search()
        name = kernel_name.lower()
        if name in unreadable and name not in regular:
            return Kernelspec.from_resource_dir(unreadable[name])
        return super().get_kernel_spec(kernel_name)

    def _search(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the directories of kernelspecs whose file is regular, and of all others."""
        regular: dict[str, str] = {}
        unreadable: dict[str, str] = {}
        for path in (path for directory in self.kernel_dirs for path in _entries(directory)):
            if os.path.isfile(path / FILE_NAME):
                regular.setdefault(path.name.lower(), str(path))
            elif _is_unreadable(path):
                unreadable.setdefault(path.name.lower(), str(path))
        if NATIVE_KERNEL_NAME not in regular:
            regular |= _native_kernelspec()
        return regular, unreadable

    def find(self, name: str) -> KernelSpec:
        """Return a kernelspec.

        Raises:
            LaunchFailed: No kernelspec has this name, or the kernelspec cannot be used.
        """
        try:
            return self.get_kernel_spec(name)
        except NoSuchKernel:
            self._raise_if_unavailable(name)
            known = ", ".join(sorted(self.find_kernel_specs())) or "none"
            remedy = '; pip install "enchannel[kernel]"' if name == PYTHON_KERNEL else ""
            raise LaunchFailed(
                f"starting a kernel failed: no kernelspec {name!r}; installed: {known}{remedy}"
            ) from None
        except InvalidKernelspec as error:
            raise LaunchFailed(f"starting kernel {name!r} failed: {error}") from error

    def _raise_if_unavailable(self, name: str) -> None:
        directory = self.find_kernel_specs().get(name.lower())
        if directory is not None:
            raise LaunchFailed(
                f"starting kernel {name!r} failed: {_unavailable(Path(directory, FILE_NAME))}"
            ) from None


def read_kernelspecs() -> tuple[KernelspecModel, ...]:
    """Return the installed kernelspecs by name, also those that cannot be used.

    Raises:
        EnchannelError: jupyter_client cannot find kernelspecs.
    """
    try:
        specs = Kernelspecs()
        return tuple(
            _to_model(specs, name, Path(directory, FILE_NAME))
            for name, directory in sorted(specs.find_kernel_specs().items())
        )
    except Exception as error:  # jupyter_client and jupyter_core raise anything
        raise EnchannelError(f"finding kernelspecs failed: {describe(error)}") from error


def describe(error: Exception) -> str:
    """Return the text of a library's exception, with a remedy if one is known."""
    text = f"{error}" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    if isinstance(error, RuntimeError) and "home directory" in text:
        return "this user has no home directory; set HOME"
    return text


def _to_model(specs: Kernelspecs, name: str, path: Path) -> KernelspecModel:
    try:
        spec = specs.get_kernel_spec(name)
    except NoSuchKernel:
        return KernelspecModel(name=name, error=_unavailable(path))
    except Exception as error:
        text = str(error) if isinstance(error, InvalidKernelspec) else describe(error)
        return KernelspecModel(name=name, error=text)
    return KernelspecModel(
        name=name,
        display_name=spec.display_name,
        language=spec.language,
        metadata=FrozenDict(spec.metadata),
    )


def _unavailable(path: Path) -> str:
    return f"the provisioner of the kernelspec {path} is not installed; install its package"


def _ipython_directories() -> list[str]:
    """Return the directories of IPython that may have kernelspecs.

    IPython's own function creates the directory, or a temporary one that stays behind.
    """
    if find_spec("IPython") is None:
        return []
    directory = os.environ.get("IPYTHONDIR") or os.path.join("~", ".ipython")
    directories = [os.path.expanduser(directory)]
    if os.name == "posix" and not os.environ.get("IPYTHONDIR"):
        config = os.environ.get("XDG_CONFIG_HOME") or os.path.join("~", ".config")
        directories.append(os.path.join(os.path.expanduser(config), "ipython"))
    return [os.path.join(path, "kernels") for path in directories]


def _native_kernelspec() -> dict[str, str]:
    """Return the directory of the kernelspec that ipykernel brings, by its name, if it is installed."""
    return KernelSpecManager(kernel_dirs=[]).find_kernel_specs()


def _entries(directory: str) -> list[Path]:
    """Return the entries of a directory by name; none if it does not exist."""
    try:
        return sorted(Path(directory).iterdir())
    except OSError:
        return []


def _is_unreadable(directory: Path) -> bool:
    """Return True if the ``kernel.json`` of a directory is not a regular file, or cannot be examined."""
    try:
        os.lstat(directory / FILE_NAME)
    except (FileNotFoundError, NotADirectoryError):
        return _is_broken_link(directory)
    except OSError:
        return True
    return True


def _is_broken_link(path: Path) -> bool:
    return os.path.islink(path) and not os.path.exists(path)


def _is_readable(directory: str) -> bool:
    if not os.path.isdir(directory) or os.access(directory, os.R_OK | os.X_OK):
        return True
    log.warning("the kernelspecs in %s are left out: permission denied", directory)
    return False


def _read(path: Path) -> Mapping[str, Any]:
    # Reading a pipe would wait for its writer.
    if os.path.exists(path) and not os.path.isfile(path):
        raise InvalidKernelspec(f"the kernelspec {path} must be a regular file; replace it")
    try:
        fields = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InvalidKernelspec(
            f"reading the kernelspec {path} failed: {error.strerror}{_link_remedy(path)}"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidKernelspec(
            f"the kernelspec {path} is not UTF-8 ({error.reason} at byte {error.start}); "
            "save it as UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidKernelspec(f"the kernelspec {path} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidKernelspec(
            f"the kernelspec {path} must be a JSON object, not {type(fields).__name__}"
        )
    return fields


def _link_remedy(path: Path) -> str:
    """Return the target of a symbolic link that cannot be followed, with the remedy."""
    for link in (path, path.parent):
        if _is_broken_link(link):
            return f" (a symbolic link to {os.readlink(link)}); repair or remove the link"
    return ""


def _validate(path: Path, fields: Mapping[str, Any]) -> None:
    """Check the types of all fields that a launch uses.

    Raises:
        InvalidKernelspec: A field has another type, or a value that is not supported.
    """
    metadata = fields.get("metadata", {})
    stanza = metadata.get("kernel_provisioner", {}) if isinstance(metadata, dict) else {}
    argv, env = fields.get("argv", []), fields.get("env", {})
    mode = fields.get("interrupt_mode", "signal")
    _require(path, "argv", "a list of strings", argv, _is_list_of_texts(argv))
    _require(path, "env", "an object with string values", env, _is_mapping_of_texts(env))
    _require(path, "metadata", "an object", metadata, isinstance(metadata, dict))
    for name in TEXT_FIELDS:
        value = fields.get(name, "")
        _require(path, name, "a string", value, isinstance(value, str))
    _require(
        path,
        "interrupt_mode",
        " or ".join(map(repr, INTERRUPT_MODES)),
        mode,
        isinstance(mode, str) and mode.lower() in INTERRUPT_MODES,
    )
    _validate_provisioner(path, stanza)
    if not stanza and not argv:
        raise InvalidKernelspec(
            f"argv in the kernelspec {path} must have the command of the kernel"
        )


def _validate_provisioner(path: Path, stanza: object) -> None:
    where = "metadata.kernel_provisioner"
    _require(path, where, "an object", stanza, isinstance(stanza, dict))
    assert isinstance(stanza, dict)  # noqa: S101  # required above
    name, config = stanza.get("provisioner_name", LOCAL_PROVISIONER), stanza.get("config", {})
    _require(path, f"{where}.provisioner_name", "a string", name, isinstance(name, str))
    _require(path, f"{where}.config", "an object", config, isinstance(config, dict))
    if name != LOCAL_PROVISIONER and not entry_points(
        group=KernelProvisionerFactory.GROUP_NAME, name=name
    ):
        raise InvalidKernelspec(
            f"the kernelspec {path} requires the provisioner {name!r}, which is not installed; "
            "install the package that provides it"
        )


def _require(path: Path, field: str, expected: str, value: object, is_valid: bool) -> None:
    if not is_valid:
        raise InvalidKernelspec(
            f"{field} in the kernelspec {path} must be {expected}, not {value!r:.80}"
        )


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_mapping_of_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
