"""Where a kernel listens, and the key that it signs with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.signature_scheme import hash_name_of
from enchannel.errors import ConnectionFailed
from enchannel.frozen import EMPTY, FrozenDict

__all__ = ["ConnectionInfo", "Secret"]

PORT_FIELDS: Final = {
    ChannelName.SHELL: "shell_port",
    ChannelName.IOPUB: "iopub_port",
    ChannelName.STDIN: "stdin_port",
    ChannelName.CONTROL: "control_port",
    ChannelName.HEARTBEAT: "hb_port",
}
_OTHERS = ("transport", "ip", "key", "signature_scheme", "kernel_name")
_CURVE = ("curve_publickey", "curve_secretkey")
_Z85_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


class Secret:
    """Text that is shown nowhere by itself: its ``repr`` and ``str`` are ``<key>``."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __repr__(self) -> str:
        return "<key>" if self._text else "<no key>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """What a connection file says.

    Attributes:
        transport: ``"tcp"`` or ``"ipc"``.
        ip: An address for tcp (``"*"`` and ``"0.0.0.0"`` are this machine), a path's prefix for ipc.
        ports: A number for each channel; for ipc it is the path's suffix.
        key: Signs the messages; an empty one leaves them unsigned.
        signature_scheme: ``hmac-`` and the name of a hash.
        kernel_name: The kernelspec's name, where it is known.
        curve_publickey, curve_secretkey: Z85 text; both or neither.
        extra: Other fields, kept as they are.
    """

    transport: Literal["tcp", "ipc"] = "tcp"
    ip: str = "127.0.0.1"
    ports: Mapping[ChannelName, int] = field(default_factory=dict)
    key: Secret = field(default_factory=lambda: Secret(""))
    signature_scheme: str = "hmac-sha256"
    kernel_name: str = ""
    curve_publickey: str = ""
    curve_secretkey: Secret = field(default_factory=lambda: Secret(""))
    extra: Mapping[str, Any] = field(default_factory=lambda: EMPTY)

    @classmethod
    def from_dict(
        cls, fields: Mapping[str, Any], *, source: str = "the connection info"
    ) -> ConnectionInfo:
        """From the JSON object of a connection file.

        Args:
            fields: The object.
            source: What an error calls it.

        Raises:
            ConnectionFailed: a field is missing or makes no sense; the text names it.
        """
        transport = fields.get("transport", "tcp")
        if transport not in ("tcp", "ipc"):
            raise ConnectionFailed(
                f"{source} has the transport {transport!r}; tcp and ipc are known"
            )
        text: dict[str, str] = {}
        for name in ("ip", "key", "signature_scheme", "kernel_name", *_CURVE):
            value = fields.get(name)
            known = "" if value is None else _text(value)
            if known is None:
                raise ConnectionFailed(f"{source} has the field {name}, which is not text")
            text[name] = known
        if not text["ip"]:
            raise ConnectionFailed(f"{source} has no ip")
        if bool(text["curve_publickey"]) != bool(text["curve_secretkey"]):
            raise ConnectionFailed(f"{source} has one CURVE key and not the other")
        for name in _CURVE:
            if text[name] and not _Z85_KEY.fullmatch(text[name]):
                raise ConnectionFailed(
                    f"{source} has the field {name}, which is not 40 characters of Z85"
                )
        scheme = text["signature_scheme"] or "hmac-sha256"
        try:
            hash_name_of(scheme)
        except ConnectionFailed as error:
            raise ConnectionFailed(f"{source} has an {error}") from None
        return cls(
            transport=cast(Literal["tcp", "ipc"], transport),
            ip=text["ip"],
            ports={
                channel: _port(fields, name, transport, source)
                for channel, name in PORT_FIELDS.items()
            },
            key=Secret(text["key"]),
            signature_scheme=scheme,
            kernel_name=text["kernel_name"],
            curve_publickey=text["curve_publickey"],
            curve_secretkey=Secret(text["curve_secretkey"]),
            extra=FrozenDict(
                {
                    k: v
                    for k, v in fields.items()
                    if k not in (*_OTHERS, *_CURVE, *PORT_FIELDS.values())
                }
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of a connection file, secrets and unknown fields included."""
        curve = {
            "curve_publickey": self.curve_publickey,
            "curve_secretkey": self.curve_secretkey.reveal(),
        }
        return {
            "transport": self.transport,
            "ip": self.ip,
            **{name: self.ports[channel] for channel, name in PORT_FIELDS.items()},
            "key": self.key.reveal(),
            "signature_scheme": self.signature_scheme,
            "kernel_name": self.kernel_name,
            **(curve if self.curve_publickey else {}),
            **self.extra,
        }

    def url(self, channel: ChannelName) -> str:
        """The ZeroMQ endpoint of a channel."""
        port = self.ports[channel]
        if self.transport == "ipc":
            return f"ipc://{self.ip}-{port}"
        # an IPv6 address may have its brackets already: without them other clients make no URL of it
        ip = self.ip.removeprefix("[").removesuffix("]")
        host = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)  # noqa: S104  # mapped away
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _text(value: object) -> str | None:
    """The text, if it is any that UTF-8 can write: a key is used as such bytes."""
    try:
        if isinstance(value, str):
            value = value.encode()
        return value.decode() if isinstance(value, bytes) else None
    except UnicodeError:
        return None  # and nothing is raised from here: such an error holds what may be a key


def _port(fields: Mapping[str, Any], name: str, transport: str, source: str) -> int:
    port = fields.get(name)
    if port is None:
        raise ConnectionFailed(f"{source} has no {name}")
    if isinstance(port, bool) or not isinstance(port, int) or port < 1:
        raise ConnectionFailed(f"{source} has the field {name}, which is not a port number")
    if transport == "tcp" and port > 65_535:
        raise ConnectionFailed(f"{source} has the {name} {port}, and 65535 is the last there is")
    return port
