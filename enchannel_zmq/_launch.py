"""Starting a kernel on this machine, and connecting to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from enchannel import Session
from enchannel.abc import Link
from enchannel.backends import EventLoopThread, SharedResource
from enchannel_zmq._kernel_process import KernelProcess
from enchannel_zmq._kernel_transport import KernelTransport
from enchannel_zmq._lifecycle import ProcessLifecycle
from enchannel_zmq._link import ZmqLink

__all__ = ["launch_kernel", "launcher_thread"]

MIN_CONNECT_TIMEOUT = 0.1
KEEPALIVE_TIMEOUT = 5.0

launcher_thread = SharedResource(lambda: EventLoopThread("enchannel-zmq launcher"))
"""The event-loop thread for the processes of all launched kernels."""


def launch_kernel(
    name: str,
    *,
    session: Session,
    timeout: float,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    transport: str,
    encryption: str,
    independent: bool,
    shutdown_timeout: float,
    max_received: int,
    extra_arguments: Sequence[str],
    record_history: bool,
) -> Link:
    """Start a kernel and connect to it; see ``ZmqBackend.launch``."""
    deadline = time.monotonic() + timeout
    process = KernelProcess(
        name,
        cwd=cwd,
        env=env,
        transport=KernelTransport(transport, encryption),
        independent=independent,
        extra_arguments=extra_arguments,
        record_history=record_history,
    )
    lease = launcher_thread.lease()
    loop = lease.resource
    lifecycle = ProcessLifecycle(
        process, session, lease, start_timeout=timeout, shutdown_timeout=shutdown_timeout
    )
    link: ZmqLink | None = None
    try:
        # Shielded from Ctrl-C, so that the process is known to kill().
        loop.run(process.start(), shielded=True)
        link = opened = ZmqLink(
            process.info,
            session,
            kernel_id=process.id,
            max_received=max_received,
            keepalive_timeout=KEEPALIVE_TIMEOUT,
            reconnect_timeout=timeout,
            find_death=lifecycle.find_death,
        )
        lifecycle.bind(link)
        lifecycle.open_link(link.open, max(MIN_CONNECT_TIMEOUT, deadline - time.monotonic()))
        lifecycle.watch()
    except BaseException:
        try:
            loop.run(lifecycle.kill(), shielded=True)
        finally:
            if link is not None:
                link.close()
            lease.release()
        raise
    closed_once = threading.Lock()

    def close() -> None:
        opened.close()
        if closed_once.acquire(blocking=False):
            try:
                # A caller that did not wait for the requested end (Ctrl-C) does not wait for it here.
                lifecycle.kill_unless_ended()
            finally:
                lifecycle.stop_watching()
                lifecycle.release_loop()

    return replace(opened.link(lifecycle), close=close)
