"""Random damage to frames, as a bad line, a bug or an attacker causes; seeded, to be reproducible."""

from collections.abc import Sequence
from random import Random

__all__ = ["Mutator"]

ODD = (
    b"",
    b"{}",
    b"null",
    b"[]",
    b"<IDS|MSG>",
    b"\xff",
    b'{"a":' * 50,
    b'"\\ud800"',
    b"1e999",
    b"\0" * 9,
)


class Mutator:
    """Damages frames and messages in one to three places."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def chance(self) -> bool:
        """Return True with a probability of one half."""
        return self._random.random() < 0.5

    def damaged(self, data: bytes, other: bytes) -> bytes:
        """Return a damaged copy of the data, which may contain parts of ``other``."""
        random = self._random.random
        for _ in range(1 + int(random() * 3)):
            at, how = int(random() * (len(data) + 1)), int(random() * 6)
            if how == 0 and at < len(data):  # a bit flipped
                data = data[:at] + bytes([data[at] ^ (1 << int(random() * 8))]) + data[at + 1 :]
            elif how == 1:  # cut short
                data = data[:at]
            elif how == 2:  # repeated
                data = data[:at] + data[at - int(random() * 40) if at > 40 else 0 :]
            elif how == 3:  # spliced
                data = data[:at] + other[int(random() * (len(other) + 1)) :]
            elif how == 4:  # inserted
                data = data[:at] + ODD[int(random() * len(ODD))] + data[at:]
            else:  # cut out
                data = data[:at] + data[at + int(random() * 40) :]
        return data

    def frames(self, frames: Sequence[bytes], other: Sequence[bytes]) -> list[bytes]:
        """Return a damaged copy of a message, which may contain frames of ``other``."""
        random, made = self._random.random, list(frames)
        for _ in range(1 + int(random() * 3)):
            at, how = int(random() * len(made)), int(random() * 9)
            if how == 0 and len(made) > 1:
                del made[at]
            elif how == 1:
                made.insert(at, made[at])
            elif how == 2:
                made[at] = other[int(random() * len(other))]
            elif how == 3:
                made = made[: at + 1]
            else:
                made[at] = self.damaged(made[at], other[int(random() * len(other))])
        return made
