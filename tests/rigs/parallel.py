"""Run commands in parallel, as many as there are cores: ``python tests/rigs/parallel.py COMMAND…``.

The output of a command is printed when it has ended. The exit code is 1 if a command failed.
"""

import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed


def run(command: str) -> subprocess.CompletedProcess[str]:
    """Run one command, without a shell."""
    return subprocess.run(
        shlex.split(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )


def main(*commands: str) -> int:
    """Run the commands, starting them in this order."""
    failed = False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(run, command): command for command in commands}
        for future in as_completed(running):
            ended = future.result()
            failed |= ended.returncode != 0
            print(f"$ {running[future]}\n{ended.stdout}", end="", flush=True)
            if ended.returncode:
                print(f"exit code {ended.returncode}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
