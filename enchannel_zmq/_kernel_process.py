"""The process of a launched kernel, run through jupyter_client's provisioners."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from enchannel import ConnectionInfo
from enchannel.errors import KernelDied, LaunchFailed, MissingDependency
from enchannel_zmq._extras import launch_extra
from enchannel_zmq._kernel_transport import KernelTransport
from enchannel_zmq._process_output import ProcessOutput

__all__ = ["KernelProcess"]

EXIT_POLL_INTERVAL = 0.01
HISTORY_OPTION = "--HistoryManager.hist_file"


class KernelProcess:
    """One kernel's process: start, poll, signal and clean up. Coroutines run on the launcher's event loop.

    Args:
        name: Name of the kernelspec.
        cwd: Working directory; default: that of this process.
        env: Environment variables in addition to those of this process.
        transport: Where the kernel listens.
        independent: The process may outlive this one.
        extra_arguments: Arguments after those of the kernelspec.
        record_history: False keeps the code out of the user's IPython history.

    Attributes:
        id: The kernel's id.
        info: Where the kernel listens; set by ``start``.
        name: Name of the kernelspec.

    Raises:
        LaunchFailed: No kernelspec has this name.
        MissingDependency: jupyter_client is not installed.
    """

    info: ConnectionInfo

    def __init__(
        self,
        name: str,
        *,
        cwd: Path | None,
        env: Mapping[str, str] | None,
        transport: KernelTransport,
        independent: bool,
        extra_arguments: Sequence[str] = (),
        record_history: bool = True,
    ) -> None:
        try:
            from enchannel_zmq._kernel_manager import create_manager
        except ImportError as error:
            raise MissingDependency(
                f"launching a kernel requires {error.name}; "
                f'pip install "enchannel[{launch_extra(name)}]"'
            ) from error
        self.id = str(uuid.uuid4())
        self.name = name
        self._manager, self._spec = create_manager(name, self.id)
        self._transport = transport
        try:
            self._output = ProcessOutput(self.id)
        except OSError as error:
            raise LaunchFailed(
                f"starting kernel {name!r} failed: creating a temporary file failed: {error}; "
                "set TMPDIR to a writable directory"
            ) from error
        self._start_ended = asyncio.Event()
        self._start_ended.set()
        self._independent = independent
        self._creator = os.getpid()
        self._start_options: dict[str, Any] = {
            "independent": independent,
            "env": {**_own_environ(independent=independent), **(env or {})},
        }
        if not record_history and _has_ipython_history(self._spec, extra_arguments):
            extra_arguments = (*extra_arguments, f"{HISTORY_OPTION}=:memory:")
        if extra_arguments:
            self._start_options["extra_arguments"] = list(extra_arguments)
        if cwd is not None:
            self._start_options["cwd"] = str(cwd)
        self._cwd = cwd

    async def start(self) -> None:
        """Start the process, or start it again after its end.

        Raises:
            LaunchFailed: The process did not start.
        """
        sink = self._output.fileno()
        self._start_ended.clear()
        try:
            self._raise_unless_in_directory()
            if not self._manager.connection_file:
                # Not in __init__, which a Ctrl-C could end between the directory and the name for it.
                self._transport.prepare(self._manager, self._spec)
            await self._manager.start_kernel(stdout=sink, stderr=sink, **self._start_options)
        except LaunchFailed:
            raise
        except Exception as error:  # provisioners raise anything
            raise LaunchFailed(
                f"starting kernel {self.name!r} failed: {error or type(error).__name__} "
                f"(kernelspec {self._spec.resource_dir})",
                stderr=self._output.tail(),
            ) from error
        finally:
            self._start_ended.set()
        fields = dict(self._manager.get_connection_info())
        self.info = ConnectionInfo.from_dict(fields, source=f"the launch of {self.name}")

    def _raise_unless_in_directory(self) -> None:
        if self._cwd is None:
            try:
                os.getcwd()
            except OSError as error:
                problem = f"the current directory cannot be used ({error.strerror}); change to another one"
                raise LaunchFailed(f"starting kernel {self.name!r} failed: {problem}") from error
        elif not self._cwd.is_dir():
            raise LaunchFailed(
                f"starting kernel {self.name!r} failed: cwd={str(self._cwd)!r} is not a directory"
            )

    async def wait_for_start(self) -> None:
        """Wait until no ``start`` is in progress."""
        await self._start_ended.wait()

    @property
    def has_process(self) -> bool:
        """True once the process was started, until ``reap``."""
        provisioner = self._manager.provisioner
        return provisioner is not None and bool(provisioner.has_process)

    @property
    def uses_interrupt_messages(self) -> bool:
        """True if the kernelspec asks for ``interrupt_request`` instead of a signal."""
        return bool(self._spec.interrupt_mode == "message")

    async def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        if not self.has_process:
            return 0
        code: int | None = await self._provisioner.poll()
        return code

    async def wait(self, seconds: float) -> bool:
        """Wait for the process to end; return True if it did."""
        deadline = time.monotonic() + seconds
        while await self.poll() is None:
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(EXIT_POLL_INTERVAL)
        return True

    async def interrupt(self) -> None:
        """Send SIGINT, or its equivalent on Windows; a no-op without a process."""
        if self.has_process:
            await self._provisioner.send_signal(signal.SIGINT)

    async def terminate(self, *, restart: bool) -> None:
        """Send SIGTERM, or its equivalent on Windows."""
        await self._provisioner.terminate(restart=restart)

    async def kill(self, *, restart: bool = False) -> None:
        """Kill the process."""
        await self._provisioner.kill(restart=restart)

    async def reap(self) -> None:
        """Wait for the process that ended, so that it does not stay a zombie."""
        if self.has_process:
            await self._provisioner.wait()

    async def clean_up(self) -> None:
        """Remove the connection file, the socket directory and the output file."""
        await self._manager.cleanup_resources()
        self._transport.remove()
        self._output.close()

    async def describe_death(self, *, is_expected: bool) -> KernelDied:
        """Return the error for a process that ended.

        Args:
            is_expected: The end was requested here.
        """
        code = await self.poll()
        tail = self._output.tail()
        if is_expected:
            text = f"kernel {self.id} was shut down"
        else:
            last_line = f": {tail.splitlines()[-1]}" if tail else ""
            how = "ended by itself or by another client," if code == 0 else "died"
            text = f"kernel {self.id} ({self.name}) {how} {_exit_status(code)}{last_line}"
        return KernelDied(text, exit_code=code, stderr=tail)

    async def describe_failed_start(self) -> LaunchFailed:
        """Return the error for a process that ended before its kernel answered."""
        code, tail = await self.poll(), self._output.tail()
        return LaunchFailed(
            f"starting kernel {self.name!r} failed: its process died {_exit_status(code)}"
            + (f":\n{tail}" if tail else ""),
            exit_code=code,
            stderr=tail,
        )

    def read_output(self) -> None:
        """Log the output of the process since the last call."""
        self._output.read()

    def output_tail(self) -> str:
        """Return the last lines that the process printed."""
        return self._output.tail()

    def renew_output(self) -> None:
        """Forget the output of the process, before it is started again."""
        self._output.close()
        self._output = ProcessOutput(self.id)

    def close_output(self) -> None:
        """Log the output of the process, and close the file."""
        self._output.close()

    def release(self, release_starter: Callable[[], object]) -> None:
        """Leave the process running, with its connection file.

        A thread waits for its end, so that the process does not become a zombie. A process that is not
        independent ends with this one, so its files are removed when this one exits.

        Args:
            release_starter: Called when the thread that started the process may end.
        """
        popen = getattr(self._manager.provisioner, "process", None)
        self._manager.keeps_connection_file = True
        if popen is None or self._independent:
            release_starter()
        if popen is None:
            return
        if not self._independent:
            atexit.register(self._remove_files)

        def wait_for_end() -> None:
            popen.wait()
            self._remove_files()
            atexit.unregister(self._remove_files)
            release_starter()

        threading.Thread(target=wait_for_end, name="enchannel-zmq reaper", daemon=True).start()

    def _remove_files(self) -> None:
        # A forked child inherits the exit hook, and its parent the kernel.
        if os.getpid() != self._creator:
            return
        self._manager.keeps_connection_file = False
        self._manager.cleanup_connection_file()
        self._transport.remove()

    @property
    def _provisioner(self) -> Any:
        return self._manager.provisioner


def _own_environ(*, independent: bool) -> dict[str, str]:
    """Return the environment of this process, as a kernel inherits it."""
    environ = dict(os.environ)
    if independent:
        # Of the kernel in which this process runs, if it is one: ipykernel ends with such a parent.
        environ.pop("JPY_PARENT_PID", None)
    return environ


def _exit_status(code: int | None) -> str:
    if code is None:
        return "(exit status unknown)"
    if code < 0:
        try:
            return f"by {signal.Signals(-code).name}"
        except ValueError:
            return f"by signal {-code}"
    return f"with exit code {code}"


def _has_ipython_history(spec: Any, extra_arguments: Sequence[str]) -> bool:
    """Return True for a kernelspec of ipykernel, unless the arguments choose a history file."""
    is_ipykernel = any("ipykernel" in word for word in spec.argv)
    return is_ipykernel and not any(word.startswith(HISTORY_OPTION) for word in extra_arguments)
