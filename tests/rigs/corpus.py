"""The notebooks of nbformat's own tests, in every version of the format; some are invalid.

``python tests/rigs/corpus.py DIR`` downloads them; ENCHANNEL_TEST_CORPUS=DIR finds them.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path, PurePosixPath

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from tests.rigs.environments import locked

DEFAULT = Path(__file__).parents[2] / ".tox" / "corpus"


def download(wanted: str, into: Path) -> Path:
    """Download the source distribution of a version of nbformat; return its path."""
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
    source = ("--no-binary", "nbformat", f"nbformat=={wanted}")
    subprocess.run([*pip, *source, "--dest", str(into)], check=True)
    (archive,) = into.glob("*.tar.gz")
    return archive


def unpack(archive: Path, notebooks: Path) -> None:
    """Extract the notebooks of the tests in an archive."""
    with tarfile.open(archive) as files:
        for member in files:
            path = PurePosixPath(member.name)
            if path.suffix == ".ipynb" and path.parts[1] == "tests" and member.isreg():
                to = notebooks.joinpath(*path.parts[2:])
                to.parent.mkdir(parents=True, exist_ok=True)
                content = files.extractfile(member)
                assert content is not None
                to.write_bytes(content.read())


def main(root: Path = DEFAULT) -> None:
    """Download the notebooks of the installed version of nbformat to ``root``, unless they are there."""
    wanted = version("nbformat")
    with locked(root) as root:
        stamp = root / "version.txt"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        stamp.unlink(missing_ok=True)
        notebooks = root / "notebooks"
        shutil.rmtree(notebooks, ignore_errors=True)
        with tempfile.TemporaryDirectory() as into:
            unpack(download(wanted, Path(into)), notebooks)
        stamp.write_text(wanted)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
