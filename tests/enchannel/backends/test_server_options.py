"""``ServerOptions``: defaults, secrets, and the headers made of them."""

from dataclasses import dataclass

import pytest

from enchannel import Secret
from enchannel.backends import ServerOptions
from enchannel.errors import ConnectionFailed

TOKEN = "a-secret-token"


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordOptions(ServerOptions):
    password: Secret = Secret("")
    limit: int = 7


def test_options_have_defaults() -> None:
    options = PasswordOptions.from_keywords({"token": None, "headers": None})
    assert options == PasswordOptions()
    assert options.limit == 7
    assert not options.token


def test_options_hide_secrets() -> None:
    options = PasswordOptions.from_keywords(
        {"token": TOKEN, "password": TOKEN, "headers": {"Cookie": TOKEN}}
    )
    assert options.password.reveal() == options.token.reveal() == TOKEN
    assert TOKEN not in repr(options)


def test_unknown_option_raises_type_error() -> None:
    with pytest.raises(TypeError, match="unknown option 'tokn'; options: allow_http, headers"):
        ServerOptions.from_keywords({"tokn": TOKEN})


def test_passed_token_wins_over_that_of_url() -> None:
    of_url = Secret("of the URL")
    assert ServerOptions().with_default_token(of_url).token == of_url
    options = ServerOptions.from_keywords({"token": TOKEN})
    assert options.with_default_token(of_url).token.reveal() == TOKEN


def test_request_headers_contain_token() -> None:
    options = ServerOptions.from_keywords({"token": f"{TOKEN}\n", "headers": {"X-Own": "1"}})
    assert options.request_headers("Bearer") == {
        "User-Agent": "enchannel",
        "X-Own": "1",
        "Authorization": f"Bearer {TOKEN}",
    }
    assert "Authorization" not in ServerOptions().request_headers("Bearer")


@pytest.mark.parametrize(
    ("keywords", "culprit"),
    [
        ({"token": f"{TOKEN}\nX: y"}, "the token"),
        ({"headers": {"Cookie": f"{TOKEN}\r\n"}}, "the header 'Cookie'"),
        ({"headers": {"a:b": "c"}}, "the header 'a:b'"),
        ({"headers": {"a": "\u00e4"}}, "the header 'a'"),
    ],
)
def test_invalid_header_raises(keywords: dict[str, object], culprit: str) -> None:
    with pytest.raises(ConnectionFailed, match=f"{culprit} contains characters") as failed:
        ServerOptions.from_keywords(keywords).request_headers("Bearer")
    assert TOKEN not in str(failed.value)


@pytest.mark.parametrize("token", [5, b"x"])
def test_token_of_other_type_raises(token: object) -> None:
    with pytest.raises(
        TypeError, match=f"token must be a string or None, not {type(token).__name__}"
    ):
        ServerOptions.from_keywords({"token": token})
