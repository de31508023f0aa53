"""Parsing the URLs that a user may pass."""

import pytest

import enchannel as ec
from enchannel_websocket._address import parse_address

KERNEL = "0b6f2f5e-1d4c-4b62-9d2d-6f2f8f0f2a11"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://localhost:8888", "http://localhost:8888"),
        ("http://localhost:8888/", "http://localhost:8888"),
        ("http://localhost:8888/lab?token=abc", "http://localhost:8888"),
        ("http://localhost:8888/lab/tree/a/b.ipynb?token=abc", "http://localhost:8888"),
        ("http://localhost:8888/tree", "http://localhost:8888"),
        ("https://hub.example.org/user/me/lab", "https://hub.example.org/user/me"),
        ("https://hub.example.org/user/me/", "https://hub.example.org/user/me"),
        ("http://localhost/user/edith/", "http://localhost/user/edith"),
        ("http://localhost/user/laboratory", "http://localhost/user/laboratory"),
        ("http://localhost/user/doctor/lab", "http://localhost/user/doctor"),
        ("http://localhost/user/tree/lab/tree/a.ipynb", "http://localhost/user/tree"),
        ("http://localhost/x/api/kernels", "http://localhost/x"),
        ("http://localhost/x/api", "http://localhost/x"),
        ("ws://127.0.0.1:1", "http://127.0.0.1:1"),
        ("wss://example.org", "https://example.org"),
        ("http://[::1]:8888/x", "http://[::1]:8888/x"),
    ],
)
def test_parsed_url_has_server_base(url: str, base: str) -> None:
    assert parse_address(url, allow_http=False).base == base


@pytest.mark.parametrize("prefix", ["http://localhost:8888", "https://hub.example.org/user/me"])
@pytest.mark.parametrize("suffix", ["", "/", "/channels", "?token=abc", "#x"])
@pytest.mark.parametrize("kind", ["kernels", "sessions"])
def test_parsed_url_has_kernel_or_session_id(prefix: str, suffix: str, kind: str) -> None:
    address = parse_address(f"{prefix}/api/{kind}/{KERNEL}{suffix}", allow_http=False)
    assert (address.base, address.kind, address.id) == (prefix, kind, KERNEL)


def test_parsed_url_has_token_apart() -> None:
    for url in ("http://localhost/lab?token=abc", "http://me:abc@localhost/lab"):
        address = parse_address(url, allow_http=False)
        assert address.token.reveal() == "abc"
        assert "abc" not in f"{address!r} {address.base}"


@pytest.mark.parametrize(
    ("path", "candidates"),
    [
        ("", []),
        ("/user/me/", []),
        ("/laboratory", []),
        ("/lab", ["/lab", ""]),
        ("/team/notebooks/", ["/team/notebooks", "/team"]),
        ("/user/tree/lab/x", ["/user/tree/lab/x", "/user/tree", "/user"]),
        (f"/lab/api/kernels/{KERNEL}", []),
    ],
)
def test_ambiguous_path_has_candidates(path: str, candidates: list[str]) -> None:
    address = parse_address(f"http://localhost{path}?token=x", allow_http=False)
    assert address.candidates == tuple(f"http://localhost{base}" for base in candidates)


def test_candidates_are_bounded() -> None:
    address = parse_address(f"http://localhost{'/lab' * 1_000}", allow_http=False)
    assert len(address.candidates) == 8
    assert address.candidates[-1] == "http://localhost"


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "localhost.example.org"])
def test_http_to_other_host_needs_allow_http(host: str) -> None:
    with pytest.raises(ec.ConnectionFailed, match="allow_http=True"):
        parse_address(f"http://{host}:8888", allow_http=False)
    assert parse_address(f"http://{host}:8888", allow_http=True).base == f"http://{host}:8888"
    assert parse_address(f"https://{host}", allow_http=False).base == f"https://{host}"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "a.localhost"])
def test_http_to_loopback_is_allowed(host: str) -> None:
    assert parse_address(f"http://{host}:8888", allow_http=False).base == f"http://{host}:8888"


@pytest.mark.parametrize(
    "nonsense",
    [
        *("", "http:", "http://", "https:///x", "ftp://localhost", "localhost:8888"),
        *("http://[", "http://localhost:x", "http://localhost:99999", "http://lo calhost"),
        *(
            "http://localhost/\0",
            "http://localhost/a b",
            "http://ex\u00e4mple",
        ),
    ],
)
def test_invalid_url_raises(nonsense: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        parse_address(nonsense, allow_http=True)


@pytest.mark.parametrize("nonsense", [None, 17, b"http://x"])
def test_url_of_other_type_raises(nonsense: object) -> None:
    with pytest.raises(TypeError, match="a server URL must be a string"):
        parse_address(nonsense, allow_http=True)


def test_server_url_in_connect_explains_remedy() -> None:
    with pytest.raises(
        ec.ConnectionFailed, match=r"/api/kernels/ID, not that of a server, .*launch\(…, at=…\)"
    ):
        ec.connect("http://localhost:8888/lab?token=abc")
