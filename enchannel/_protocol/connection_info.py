"""Connection info: the addresses of a kernel, and its signing key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.errors import ConnectionFailed
from enchannel._protocol.signature_scheme import hash_name_of
from enchannel.frozen import EMPTY, FrozenDict

__all__ = ["ConnectionInfo", "Secret"]

PORT_FIELDS: Final = {
    ChannelName.SHELL: "shell_port",
    ChannelName.IOPUB: "iopub_port",
    ChannelName.STDIN: "stdin_port",
    ChannelName.CONTROL: "control_port",
    ChannelName.HEARTBEAT: "hb_port",
}
_OTHER_FIELDS = ("transport", "ip", "key", "signature_scheme", "kernel_name")
_CURVE_FIELDS = ("curve_publickey", "curve_secretkey")
MAX_PORT = 65_535
_Z85_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


class Secret:
    """Text that never appears in logs: its ``repr`` and ``str`` are ``<key>``."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
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
    """The contents of a connection file. Immutable.

    Attributes:
        transport: ``"tcp"`` or ``"ipc"``.
        ip: An address for tcp (``"*"`` and ``"0.0.0.0"`` mean this machine), a path prefix for ipc.
        ports: The port of each channel; for ipc, the suffix of the path.
        key: The key that signs messages; empty for unsigned messages.
        signature_scheme: ``hmac-`` and the name of a hash.
        kernel_name: The name of the kernelspec; may be empty.
        curve_publickey, curve_secretkey: CURVE keys as Z85 text; both or neither.
        extra: All other fields, unchanged.
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
        """Create connection info from the JSON object of a connection file.

        Args:
            fields: The object.
            source: The name of the object in errors.

        Raises:
            ConnectionFailed: a field is missing or invalid; the text names it.
        """
        transport = fields.get("transport", "tcp")
        if transport not in ("tcp", "ipc"):
            raise ConnectionFailed(f"{source}: transport must be tcp or ipc, not {transport!r}")
        text: dict[str, str] = {}
        for name in ("ip", "key", "signature_scheme", "kernel_name", *_CURVE_FIELDS):
            value = fields.get(name)
            known = "" if value is None else _text(value)
            if known is None:
                raise ConnectionFailed(f"{source}: {name} must be text")
            text[name] = known
        if not text["ip"]:
            raise ConnectionFailed(f"{source} has no ip")
        if bool(text["curve_publickey"]) != bool(text["curve_secretkey"]):
            raise ConnectionFailed(
                f"{source}: curve_publickey and curve_secretkey must both be set, or neither"
            )
        for name in _CURVE_FIELDS:
            if text[name] and not _Z85_KEY.fullmatch(text[name]):
                raise ConnectionFailed(f"{source}: {name} must be a key of 40 Z85 characters")
        scheme = text["signature_scheme"] or "hmac-sha256"
        try:
            hash_name_of(scheme)
        except ConnectionFailed as error:
            raise ConnectionFailed(f"{source}: {error}") from None
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
                    if k not in (*_OTHER_FIELDS, *_CURVE_FIELDS, *PORT_FIELDS.values())
                }
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of a connection file, with secrets and unknown fields."""
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
        """Return the ZeroMQ endpoint of a channel."""
        port = self.ports[channel]
        if self.transport == "ipc":
            return f"ipc://{self.ip}-{port}"
        # An IPv6 address may already have brackets, since other clients need them for their URLs.
        ip = self.ip.removeprefix("[").removesuffix("]")
        host = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)  # noqa: S104  # mapped away
        return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _text(value: object) -> str | None:
    """Return a text or bytes as text, or None if UTF-8 cannot encode or decode it."""
    try:
        if isinstance(value, str):
            value = value.encode()
        return value.decode() if isinstance(value, bytes) else None
    except UnicodeError:
        # Not raised, because a UnicodeError contains the text, which may be a key.
        return None


def _port(fields: Mapping[str, Any], name: str, transport: str, source: str) -> int:
    port = fields.get(name)
    if port is None:
        raise ConnectionFailed(f"{source} has no {name}")
    if isinstance(port, bool) or not isinstance(port, int) or port < 1:
        raise ConnectionFailed(f"{source}: {name} must be a port number")
    if transport == "tcp" and port > MAX_PORT:
        raise ConnectionFailed(f"{source}: {name} must be at most {MAX_PORT}, not {port}")
    return port
