"""Real kernels for the tests, each in its own virtual environment.

``python tests/rigs/kernels.py DIR`` installs them; JUPYTER_PATH=DIR/share/jupyter finds them.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from tests.rigs.environments import install, locked, program

DEFAULT = Path(__file__).parents[2] / ".tox" / "kernels"


@dataclass(frozen=True)
class RealKernel:
    """The requirements of a kernel and its command; ``argv[0]`` is a program in its environment."""

    name: str
    requirements: tuple[str, ...]
    language: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])


KERNELS = (
    RealKernel(
        name="ipykernel6",
        requirements=("ipykernel<7",),
        language="python",
        argv=("python", "-m", "ipykernel_launcher", "-f", "{connection_file}"),
    ),
    RealKernel(
        name="xpython",
        requirements=("xeus-python",),
        language="python",
        argv=("python", "-m", "xpython_launcher", "-f", "{connection_file}"),
    ),
    RealKernel(
        name="deno",
        requirements=("deno",),
        language="typescript",
        argv=("deno", "jupyter", "--kernel", "--conn", "{connection_file}"),
        env={"DENO_DIR": "{home}/cache", "DENO_NO_UPDATE_CHECK": "1"},
    ),
)


def add(kernel: RealKernel, root: Path) -> None:
    """Install one kernel and write its kernelspec."""
    home = root / kernel.name
    install(home, kernel.requirements)
    name, *arguments = kernel.argv
    spec = {
        "argv": [str(program(home, name)), *arguments],
        "display_name": kernel.name,
        "language": kernel.language,
        "env": {name: value.replace("{home}", str(home)) for name, value in kernel.env.items()},
    }
    path = root / "share" / "jupyter" / "kernels" / kernel.name / "kernel.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(spec, indent=1))


def main(root: Path = DEFAULT) -> None:
    """Install every kernel under ``root``."""
    with locked(root) as root:
        for kernel in KERNELS:
            add(kernel, root)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
