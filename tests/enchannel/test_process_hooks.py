"""Hooks in a forked child and at the end of the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.rigs import DEADLINE

HOOKS = """if True:
    import os
    from enchannel._rx.process_hooks import call_at_exit, call_in_forked_child

    def hook(text):
        return lambda: os.write(1, text.encode() + b"\\n")

    def failing():
        raise ValueError("a failing hook")

    for register in (call_at_exit, call_in_forked_child):
        register(hook(register.__name__ + " 1"))
        register(failing)
        register(hook(register.__name__ + " 2"))
"""


def run(script: str) -> tuple[list[str], str]:
    """Return the lines that a script prints, and its stderr."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HOOKS + script],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines(), ended.stderr


def test_exit_hooks_run_in_reverse_order() -> None:
    """A hook that raises is logged and keeps no other from running."""
    lines, stderr = run("")
    assert lines == ["call_at_exit 2", "call_at_exit 1"]
    assert "failing failed" in stderr
    assert "a failing hook" in stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_hooks_run_in_child_in_order() -> None:
    lines, stderr = run("""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    os._exit(0)
    """)
    assert lines == ["call_in_forked_child 1", "call_in_forked_child 2"]
    assert "a failing hook" in stderr
