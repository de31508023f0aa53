"""The proxy for a URL: by an option, the environment, and NO_PROXY in all its forms."""

import os

import pytest

from enchannel.backends import choose_proxy
from enchannel.errors import ConnectionFailed

PROXY = "http://proxy.example.org:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def chosen(url: str, option: str | bool | None = True) -> str | None:
    choice = choose_proxy(url, option)
    return None if choice is None else choice.url


@pytest.mark.parametrize(
    "host", ["localhost", "lab.localhost", "127.0.0.1", "127.8.8.8", "[::1]", "localhost."]
)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"])
def test_loopback_is_direct(monkeypatch: pytest.MonkeyPatch, name: str, host: str) -> None:
    monkeypatch.setenv(name, PROXY)
    for scheme in ("http", "https"):
        assert chosen(f"{scheme}://{host}:8888") is None
    assert chosen(f"http://{host}:8888", PROXY) == PROXY


@pytest.mark.parametrize(
    ("name", "http", "https"),
    [
        ("HTTP_PROXY", PROXY, None),
        ("https_proxy", None, PROXY),
        ("ALL_PROXY", PROXY, PROXY),
        ("WS_PROXY", None, None),
    ],
)
def test_scheme_chooses_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, http: str | None, https: str | None
) -> None:
    monkeypatch.setenv(name, PROXY)
    assert chosen("http://hub.example.org") == http
    assert chosen("https://hub.example.org") == https
    assert chosen("https://hub.example.org", None) is chosen("https://hub.example.org", False)
    assert chosen("https://hub.example.org", None) is None


def test_proxy_without_scheme_is_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.org:3128")
    assert chosen("https://hub.example.org") == PROXY


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_excluded"),
    [
        ("https://hub.example.org", "*", True),
        ("https://hub.example.org", "a.org, *", True),
        ("https://hub.example.org", "hub.example.org", True),
        ("https://hub.example.org", "HUB.Example.ORG.", True),
        ("https://hub.example.org.", "hub.example.org", True),
        ("https://hub.example.org", "example.org", True),
        ("https://hub.example.org", ".example.org", True),
        ("https://hub.example.org", "*.example.org", True),
        ("https://example.org", ".example.org", True),
        ("https://hub.example.org", "a.org example.org", True),
        ("https://hub.example.org", "ample.org", False),
        ("https://hub.example.org", "b.example.org", False),
        ("https://hub.example.org", "", False),
        ("https://hub.example.org", ",.,*.,", False),
        ("https://hub.example.org", "example.org:443", True),
        ("https://hub.example.org", "example.org:8443", False),
        ("https://hub.example.org:8443", "example.org:8443", True),
        ("http://hub.example.org", "https://example.org", True),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://10.1.2.3", "10.1.2.3/8", True),
        ("https://11.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3:8443", "10.1.2.3:8443", True),
        ("https://10.1.2.3", "10.1.2.3:8443", False),
        ("https://110.1.2.3", "10.1.2.3", False),
        ("https://[fd00::1]", "fd00:0::0001", True),
        ("https://[fd00::1]", "[fd00::1]", True),
        ("https://[fd00::1]:8443", "[fd00::1]:8443", True),
        ("https://[fd00::1]:8443", "[fd00::1]:443", False),
        ("https://[fd00::1]", "fd00::/8", True),
        ("https://[fe00::1]", "fd00::/8", False),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_excludes_host(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, no_proxy: str, is_excluded: bool
) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv(name, no_proxy)
    assert chosen(url) == (None if is_excluded else PROXY)


@pytest.mark.parametrize(
    "invalid", ["http://[x", "http://x:y", "gopher://x", "http://", "http://:1"]
)
def test_invalid_proxy_names_its_source(monkeypatch: pytest.MonkeyPatch, invalid: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", invalid)
    with pytest.raises(ConnectionFailed, match="HTTPS_PROXY must be the URL of a proxy"):
        choose_proxy("https://hub.example.org")
    with pytest.raises(ConnectionFailed, match="proxy=… must be the URL of a proxy"):
        choose_proxy("https://hub.example.org", invalid)


def test_proxy_text_hides_credentials() -> None:
    choice = choose_proxy("https://hub.example.org", "http://me:secret@proxy.example.org:3128")
    assert str(choice) == "http://proxy.example.org:3128 (proxy=…)"
    assert "secret" not in repr(choice)
