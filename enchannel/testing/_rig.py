"""What a backend's author gives to the suite: the backend, and the far end that it talks to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from enchannel import AnyMessage, ChannelName
from enchannel.abc import Backend

__all__ = ["Rig"]


class Rig(ABC):
    """A backend, and the kernel's end of its transport, in a test's hand.

    ``listen`` and ``say`` are what there has to be; all methods may be called from any thread. What the
    transport cannot do is declared in ``cannot``, and what is tested with it is skipped with that reason.

    Attributes:
        backend: The backend under test.
        target: What it opens to reach this far end.
        options: What it is given beside the target.
        impatient: Options with which a link that is lost is given up within seconds.
        nowhere: A target that makes sense, and where nobody is.
        secrets: Keys, tokens and passwords, which may be seen nowhere.
        said_twice: Which of ``garbage`` is a good message that is said again: it is heard once.
        cannot: Why the transport has no such thing, by the name of the method or attribute: ``{"pause":
            "letters need no reader"}``.
    """

    backend: Backend
    target: Any
    options: Mapping[str, Any] = {}
    impatient: Mapping[str, Any] = {}
    nowhere: Any = None
    secrets: Collection[str] = ()
    said_twice: str = ""
    cannot: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def listen(self, hear: Callable[[AnyMessage], None]) -> None:
        """Give what clients say to a function, from now on: in order, one message after the other.

        The function is short, and may call ``say``.
        """

    @abstractmethod
    def say(self, message: AnyMessage) -> None:
        """Say something as the kernel: on iopub to all clients; elsewhere to the client whose session the
        parent header names. The message goes as it is, header and all."""

    def cut(self) -> None:
        """Break the links of all clients, as a network does, or a kernel that dies."""
        raise NotImplementedError

    def restore(self) -> None:
        """Let them come back."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Break the links for good; where that is a matter of time, ``impatient`` makes it short."""
        raise NotImplementedError

    def pause(self) -> None:
        """Read nothing, as a process that was stopped."""
        raise NotImplementedError

    def resume(self) -> None:
        """Read again."""
        raise NotImplementedError

    @property
    def garbage(self) -> Mapping[str, Callable[[ChannelName], None]]:
        """Ways to send all clients, on a channel, what is no message, or not to be trusted; by name."""
        raise NotImplementedError
