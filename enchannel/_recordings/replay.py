"""``replay``: a recording as a kernel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from reactivex import Observable, abc

from enchannel._kernel.connect import connect
from enchannel._kernel.kernel import Kernel

__all__ = ["replay"]


def replay(
    path: str | os.PathLike[str],
    *,
    speed: float = 1.0,
    start: Observable[Any] | None = None,
    scheduler: abc.SchedulerBase | None = None,
) -> Kernel:
    """Play a recording as the channels of a kernel, at its original pace.

    Playback begins with the first subscriber of a channel; with several subscribers, pass ``start`` so that
    none misses a message. A replay plays once, and every channel completes at the end; call ``replay``
    again to play it again. Sending raises ``NotSupported``, also after the end, or ``ChannelClosed`` once
    the kernel is closed. On an event loop that is running, it returns immediately; ``async with`` or
    ``await`` opens the file.

    Args:
        path: A file written by ``record``.
        speed: Playback speed relative to the recording; ``math.inf`` plays without delays.
        start: Begin playback when this observable emits or completes, instead of with the first subscriber.
        scheduler: The source of time. With a virtual-time scheduler, and subscribers on the same scheduler,
            messages are emitted only as it advances.

    Raises:
        ConnectionFailed: The file is not a recording, or cannot be read.
        ValueError: ``speed`` is not above 0.

    Example:
        >>> with ec.replay("session.enchannel", speed=math.inf) as kernel:
        ...     results = kernel.iopub.pipe(ec.of_message_type("execute_result"))
        ...     print(ec.wait(results).content["data"]["text/plain"])
    """
    # Imported here: the toolkit for backends, on which it depends, is not needed to import enchannel.
    from enchannel._recordings.player import backend, validate_speed

    validate_speed(speed)
    return connect(Path(path), backend=backend, speed=speed, start=start, scheduler=scheduler)
