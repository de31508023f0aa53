"""``enchannel record``."""

from __future__ import annotations

import argparse
import signal
from queue import SimpleQueue

import enchannel as ec
from enchannel._cli.exit_code import ExitCode
from enchannel._cli.kernel_session import connect
from enchannel._cli.terminal.screen import Screen
from enchannel._cli.terminal.signals import Ended, Signals

__all__ = ["record"]

WANTED = {128 + signal.SIGINT, 128 + signal.SIGTERM}  # ends that are as good as any


def record(arguments: argparse.Namespace, screen: Screen) -> int:
    """Record a kernel that runs, until it ends or somebody ends it; the exit code."""
    with Signals(on_hurry=lambda: None) as signals:
        try:
            return _record(arguments, screen, signals)
        except Ended as ended:  # before it has begun
            return ended.exit_code


def _record(arguments: argparse.Namespace, screen: Screen, signals: Signals) -> int:
    kernel = connect(arguments.target, arguments, screen)
    try:
        recorder = ec.record(
            kernel, arguments.file, keep_input=arguments.keep_input, overwrite=arguments.overwrite
        )
        ended = _follow(kernel, screen, arguments.file)
        signals.ending()
        recorder.close()
    finally:
        kernel.close()
    screen.say(_told(recorder))
    return ended if recorder.error is None else ExitCode.RAISED


def _told(recorder: ec.Recorder) -> str:
    """What has become of it, in a sentence."""
    count = f"{recorder.messages} message{'' if recorder.messages == 1 else 's'}"
    return f"recorded {count} in {recorder.path}"


def _follow(kernel: ec.Kernel, screen: Screen, path: str) -> int:
    """Wait for the end, and say what goes wrong meanwhile."""
    inbox: SimpleQueue[ec.EnchannelError | None] = SimpleQueue()
    kernel.errors.subscribe(inbox.put, on_completed=lambda: inbox.put(None))
    try:
        screen.say(f"recording kernel {kernel.id} in {path}; Ctrl-C ends it")
        while (error := inbox.get()) is not None:
            screen.say(str(error))
            if isinstance(error, ec.RecordingFailed):
                break
    except Ended as ended:
        return ExitCode.OK if ended.exit_code in WANTED else ended.exit_code
    return ExitCode.OK
