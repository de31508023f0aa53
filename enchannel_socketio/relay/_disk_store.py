"""Kernel logs in a directory, which outlive their relay.

Each kernel has its own subdirectory, accessible to the owner only: ``kernel.json`` describes the kernel,
and the segments contain its messages.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import os
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from enchannel import AnyMessage
from enchannel.abc import KernelState
from enchannel.backends import EventRecord
from enchannel.errors import ConnectionFailed, KernelDied
from enchannel_socketio.relay._disk_log import LOG_PATTERN, DiskLog
from enchannel_socketio.relay._files import NotARegularFile, delete_files, open_regular
from enchannel_socketio.relay._kernels import LocalKernel, ServedKernel
from enchannel_socketio.relay._log import Bounds, Entry, Log
from enchannel_socketio.relay._store import Store

__all__ = ["DiskStore"]

log = logging.getLogger("enchannel.socketio.relay")

# Of the kernels of earlier relays, only the newest are kept.
MAX_ENDED_KERNELS = 100
KERNEL_FILE = "kernel.json"
NEW_KERNEL_FILE = "kernel.new"
MAX_KERNEL_FILE_BYTES = 65_536
LOG_FORMAT_VERSION = 1


class _KernelFile(msgspec.Struct, frozen=True):
    """The content of ``kernel.json``; ``created`` is in seconds since 1970, ``format`` that of the log."""

    id: str
    name: str
    created: float = 0.0
    format: int = 1


class DiskStore(Store):
    """Logs in a directory. Kernels of earlier relays are listed as dead, and can be read.

    Args:
        directory: The directory, created if needed. Only one relay at a time can use it.
        bounds: The maximum size of each log.
    """

    def __init__(self, directory: Path, bounds: Bounds) -> None:
        self._directory = directory
        self._bounds = bounds
        self._lock: BinaryIO | None = None
        self._ended: dict[str, ServedKernel] = {}
        self._logs: dict[str, DiskLog] = {}

    async def open(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._acquire_lock()
            kernels = sorted(_kernels_in(self._directory), key=lambda kernel: -kernel.created)
            for kernel in kernels[MAX_ENDED_KERNELS:]:
                await self.forget(kernel.id)
            for kernel in kernels[:MAX_ENDED_KERNELS]:
                try:
                    await self._add_ended(kernel)
                except NotARegularFile as error:
                    log.warning("kernel %s was skipped: %s", kernel.id, error)
        except BaseException as error:
            await self.close()
            # A ConnectionFailed, as of the lock, is an OSError too.
            if isinstance(error, OSError) and not isinstance(error, ConnectionFailed):
                raise self._write_failure(error) from None
            raise

    async def close(self) -> None:
        for kernel_log in self._logs.values():
            await kernel_log.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def create_log(self, kernel_id: str) -> Log:
        try:
            kernel_log = DiskLog(self._directory / kernel_id, self._bounds)
        except OSError as error:
            raise self._write_failure(error) from None
        self._logs[kernel_id] = kernel_log
        return kernel_log

    async def register(self, kernel: LocalKernel) -> None:
        content = _KernelFile(kernel.id, kernel.name, time.time(), LOG_FORMAT_VERSION)
        path = self._directory / kernel.id / KERNEL_FILE
        try:
            new = path.with_name(NEW_KERNEL_FILE)
            handle = open_regular(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(content))
            new.replace(path)
        except OSError as error:
            raise self._write_failure(error) from None

    async def forget(self, kernel_id: str) -> None:
        self._ended.pop(kernel_id, None)
        kernel_log = self._logs.pop(kernel_id, None)
        if kernel_log is not None:
            await kernel_log.close()
        await asyncio.to_thread(_delete, self._directory / kernel_id)

    async def other_kernels(self) -> Mapping[str, ServedKernel]:
        return self._ended

    def _write_failure(self, error: OSError) -> ConnectionFailed:
        return ConnectionFailed(
            f"logs cannot be stored in {self._directory}: {error.strerror or error}"
        )

    def _acquire_lock(self) -> None:
        """Lock the directory. The system releases the lock whenever the process ends."""
        handle = open_regular(self._directory / "lock", os.O_RDWR | os.O_CREAT)
        lock = os.fdopen(handle, "r+b")
        try:
            _lock_file(lock)
        except (BlockingIOError, PermissionError):
            lock.close()
            raise ConnectionFailed(
                f"{self._directory} is in use by another relay; give each relay its own directory"
            ) from None
        self._lock = lock

    async def _add_ended(self, kernel: _KernelFile) -> None:
        """Add a kernel of an earlier relay, with the end of its log."""
        kernel_log = await asyncio.to_thread(DiskLog, self._directory / kernel.id, self._bounds)
        _, last = await kernel_log.positions()
        error = KernelDied(
            f"kernel {kernel.id} ended when its relay stopped; its messages are kept"
        )
        newest = (await kernel_log.read(last - 1, 1)).entries if last else ()
        if not (newest and newest[0].is_end):
            await kernel_log.append([Entry.of_event(EventRecord.of_end(error))])
            await kernel_log.close()
        self._logs[kernel.id] = kernel_log
        self._ended[kernel.id] = EndedKernel(kernel.id, kernel.name, kernel_log, error)


if sys.platform == "win32":

    def _lock_file(file: BinaryIO) -> None:
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:

    def _lock_file(file: BinaryIO) -> None:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _kernels_in(directory: Path) -> list[_KernelFile]:
    """Return the kernels in a directory, and delete those whose ``kernel.json`` was never written."""
    kernels: list[_KernelFile] = []
    for path in directory.iterdir():
        if path.is_symlink():
            log.warning("%s is a symbolic link and was skipped", path)
            continue
        try:
            kernel = _read_kernel_file(path / KERNEL_FILE)
        except FileNotFoundError:
            if _is_kernel_id(path.name):
                _delete(path)
        except NotADirectoryError:
            continue
        except OSError as error:
            log.warning("%s was skipped: %s", path, error)
        except msgspec.MsgspecError as error:  # perhaps a file of another program
            log.warning("%s is not readable and was skipped: %s", path / KERNEL_FILE, error)
        else:
            if kernel.format > LOG_FORMAT_VERSION:
                log.warning("%s was written by a newer enchannel and was skipped", path)
            elif kernel.id == path.name:
                kernels.append(kernel)
    return kernels


def _read_kernel_file(path: Path) -> _KernelFile:
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        return msgspec.json.decode(file.read(MAX_KERNEL_FILE_BYTES), type=_KernelFile)


def _is_kernel_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def _is_own_file(name: str) -> bool:
    return name in (KERNEL_FILE, NEW_KERNEL_FILE) or fnmatch.fnmatchcase(name, LOG_PATTERN)


def _delete(directory: Path) -> None:
    """Delete the files of a kernel, and its directory if no other files are in it."""
    try:
        delete_files(directory, _is_own_file)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("%s could not be deleted: %s", directory, error.strerror or error)


class EndedKernel(ServedKernel):
    """A kernel that no longer runs; its log can be read."""

    def __init__(self, id: str, name: str, log: Log, error: KernelDied) -> None:
        super().__init__(id, name, log)
        self.state = KernelState.DEAD
        self._error = error

    async def send(self, message: AnyMessage) -> None:
        raise self._error

    async def interrupt(self) -> None:
        raise self._error

    async def restart(self) -> None:
        raise self._error

    async def shut_down(self) -> None:
        """Do nothing: the kernel has already ended."""
