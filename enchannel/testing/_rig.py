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

    ``on_message`` and ``send`` are required. All methods may be called from any thread. ``unsupported``
    names the features that the transport does not have; tests that need one are skipped with its reason.

    Attributes:
        backend: The backend under test.
        target: What it opens to reach this far end.
        options: What it is given beside the target.
        give_up_options: Options with which a link that is lost is given up within seconds.
        unreachable_target: A target that makes sense, and where nobody is.
        secrets: Keys, tokens and passwords, which may be seen nowhere.
        replayed: Which of ``garbage`` is a good message that is said again: it is heard once.
        unsupported: The methods and attributes that the transport cannot provide, each with the reason:
            ``{"garbage": "messages in memory cannot be damaged"}``.
    """

    backend: Backend
    target: Any
    options: Mapping[str, Any] = {}
    give_up_options: Mapping[str, Any] = {}
    unreachable_target: Any = None
    secrets: Collection[str] = ()
    replayed: str = ""
    unsupported: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def on_message(self, callback: Callable[[AnyMessage], None]) -> None:
        """Give what clients say to a function, from now on: in order, one message after the other.

        The function is short, and may call ``say``.
        """

    @abstractmethod
    def send(self, message: AnyMessage) -> None:
        """Say something as the kernel: on iopub to all clients; elsewhere to the client whose session the
        parent header names. The message goes as it is, header and all."""

    def disconnect(self) -> None:
        """Break the links of all clients, as a network does, or a kernel that dies."""
        raise NotImplementedError

    def reconnect(self) -> None:
        """Let them come back."""
        raise NotImplementedError

    def disconnect_permanently(self) -> None:
        """Break the links for good; where that is a matter of time, ``give_up_options`` makes it short."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Read nothing, as a process that was stopped."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """Read again."""
        raise NotImplementedError

    @property
    def garbage(self) -> Mapping[str, Callable[[ChannelName], None]]:
        """Ways to send all clients, on a channel, what is no message, or not to be trusted; by name."""
        raise NotImplementedError
