"""Server URLs: parsing, and keeping their secrets out of texts."""

import pytest

from enchannel.backends import parse_server_url, redact_url, token_of_url

SCHEMES = {"http": False, "ws": False, "https": True}


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("https://host/path?token=secret", "https://host/path"),
        ("https://host/path#secret", "https://host/path"),
        ("https://me:secret@host:8888/path", "https://host:8888/path"),
        ("https://secret@host", "https://host"),
        ("https://host/path", "https://host/path"),
        ("socketio+http://me:secret@host/ID?token=secret", "socketio+http://host/ID"),
        ("kernel-1234.json", "kernel-1234.json"),
        ("what?.json", "what?.json"),
    ],
)
def test_redacted_url_has_no_secret(url: str, redacted: str) -> None:
    assert redact_url(url) == redacted


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("https://host/lab?token=abc", "abc"),
        ("https://me:abc@host/lab", "abc"),
        ("https://me:a%2Fc@host", "a/c"),
        ("https://me:other@host?token=abc", "abc"),
        ("https://host", ""),
        ("https://[", ""),
    ],
)
def test_token_of_url(url: str, token: str) -> None:
    assert token_of_url(url).reveal() == token


def test_parsed_url_shows_no_token() -> None:
    server = parse_server_url("http://localhost:1/a?token=abc", SCHEMES, allow_http=False)
    assert (server.origin, server.path) == ("http://localhost:1", "/a")
    assert server.token.reveal() == "abc"
    assert "abc" not in repr(server)


def test_url_error_names_supported_schemes() -> None:
    with pytest.raises(ValueError, match="must begin with http:// or https:// and a host"):
        parse_server_url("ftp://host", SCHEMES, allow_http=True)
