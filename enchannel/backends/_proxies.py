"""Choosing the proxy for a URL, once for all libraries that connect to it.

HTTP libraries read ``NO_PROXY`` in different ways, and choose differently for ``ws`` and ``http``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from enchannel._protocol.url_secrets import redact_url
from enchannel.backends._server_url import is_loopback
from enchannel.errors import ConnectionFailed

__all__ = ["ProxyChoice", "choose_proxy"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class ProxyChoice:
    """A proxy, and the setting that chose it; ``str()`` shows no credentials.

    Attributes:
        url: The URL of the proxy.
        source: The name of the option or environment variable.
    """

    url: str = field(repr=False)
    source: str

    def __str__(self) -> str:
        return f"{redact_url(self.url)} ({self.source})"


def choose_proxy(url: str, option: str | bool | None = True) -> ProxyChoice | None:
    """Return the proxy for the URL of a server; None to connect directly.

    The environment (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``) or the system decides.
    Neither is used for this machine, whose servers a proxy cannot reach.

    Args:
        url: A URL with the scheme ``http`` or ``https``.
        option: The URL of a proxy to use; None or False for none; True for the default.

    Raises:
        ConnectionFailed: The URL of the proxy is invalid.
    """
    if isinstance(option, str):
        return _checked(ProxyChoice(option, "proxy=…"))
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if not option or is_loopback(host):
        return None
    proxies = getproxies()
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    if "no" in proxies:
        if _is_excluded(host, port, proxies["no"]):
            return None
    elif proxy_bypass(host):
        return None
    for scheme in (parts.scheme, "all"):
        if proxy := proxies.get(scheme):
            with_scheme = proxy if "://" in proxy else f"http://{proxy}"
            return _checked(ProxyChoice(with_scheme, f"{scheme.upper()}_PROXY"))
    return None


def _checked(choice: ProxyChoice) -> ProxyChoice:
    try:
        parts = urlsplit(choice.url)
        is_valid = bool(parts.hostname) and parts.scheme in _SCHEMES and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConnectionFailed(
            f"{choice.source} must be the URL of a proxy, such as http://proxy.example.org:3128; its "
            f"scheme may be {', '.join(_SCHEMES[:-1])} or {_SCHEMES[-1]}"
        )
    return choice


def _is_excluded(host: str, port: int, no_proxy: str) -> bool:
    return any(_matches(host, port, entry) for entry in re.split(r"[,\s]+", no_proxy.lower()))


def _matches(host: str, port: int, entry: str) -> bool:
    """Return True if an entry of ``NO_PROXY`` includes a host.

    It may be ``*``, a domain, which includes its subdomains, with a dot or ``*.`` before it, an address, a
    network such as ``10.0.0.0/8``, and may have a port, or be a URL.
    """
    entry = entry.rpartition("://")[2]
    if entry == "*" or _matches_address(host, entry):
        return True
    if match := re.fullmatch(r"(\[.*\]|[^:]*):(\d+)", entry):
        return int(match[2]) == port and _matches(host, port, match[1])
    name = entry.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _matches_address(host: str, entry: str) -> bool:
    entry = entry.replace("[", "").replace("]", "") if entry.startswith("[") else entry
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return False
