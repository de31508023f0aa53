"""The interface through which the conformance suite controls a backend and its kernel's end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from enchannel import AnyMessage, ChannelName
from enchannel.abc import Backend

__all__ = ["Rig"]


class Rig(ABC):
    """A backend and the kernel's end of its transport, under the control of a test.

    ``on_message`` and ``send`` are required. All methods may be called from any thread. ``unsupported``
    names the features that the transport does not have; tests that need one are skipped with its reason.

    Attributes:
        backend: The backend under test.
        target: The target that the backend opens to reach this kernel's end.
        options: Options for ``backend.open``.
        give_up_options: More options, with which a lost link is given up within seconds.
        at: The URL of the server at which a ``Lister`` lists the kernel, with the credentials for that;
            None if it lists the kernel without a server. A listed target is opened with ``options``.
        unreachable_target: A valid target at which connections fail.
        secrets: Keys, tokens and passwords, which must not appear in any text.
        replayed: The key in ``garbage`` that sends a valid message twice; one of the two must be received.
        unsupported: The methods and attributes that the transport cannot provide, each with the reason:
            ``{"garbage": "messages in memory cannot be damaged"}``.
    """

    backend: Backend
    target: Any
    options: Mapping[str, Any] = {}
    give_up_options: Mapping[str, Any] = {}
    at: str | None = None
    unreachable_target: Any = None
    secrets: Collection[str] = ()
    replayed: str = ""
    unsupported: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def on_message(self, callback: Callable[[AnyMessage], None]) -> None:
        """Set the function that receives messages from clients, one at a time and in order.

        The function is short, and may call ``send``.
        """

    @abstractmethod
    def send(self, message: AnyMessage) -> None:
        """Send a message to clients, with its header unchanged.

        On iopub it is sent to all clients, elsewhere to the one whose session the parent header names.
        """

    def disconnect(self) -> None:
        """Break the links of all clients, as a network failure or a killed kernel does."""
        raise NotImplementedError

    def reconnect(self) -> None:
        """Let the links of all clients reconnect."""
        raise NotImplementedError

    def disconnect_permanently(self) -> None:
        """Break the links permanently; where a timeout decides that, ``give_up_options`` make it short."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Stop reading from clients, as a stopped process does."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """Continue reading from clients."""
        raise NotImplementedError

    @property
    def garbage(self) -> Mapping[str, Callable[[ChannelName], None]]:
        """Functions, by name, that send something malformed or untrusted to all clients on a channel."""
        raise NotImplementedError
