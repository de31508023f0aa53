"""Sessions: ids, user names, and the filling of message headers."""

import getpass

import pytest

import enchannel as ec
from enchannel import Header, Session


def test_session_ids_are_unique() -> None:
    assert Session().id != Session().id


def test_username_is_the_login_name() -> None:
    assert Session().username == getpass.getuser()


@pytest.mark.parametrize("error", [KeyError("uid"), OSError(), ImportError("pwd")])
def test_username_without_login_name(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert Session().username == "username"


def test_session_is_a_value() -> None:
    assert Session(id="s1", username="ada") == Session(id="s1", username="ada")
    with pytest.raises(AttributeError):
        Session().id = "other"  # type: ignore[misc]


def test_fill_headers_fills_empty_fields() -> None:
    folded = Session(id="s1", username="ada").fill_headers(ec.kernel_info_request())
    assert (folded.header.session, folded.header.username) == ("s1", "ada")
    assert folded.header.date


def test_fill_headers_keeps_existing_fields() -> None:
    header = Header(msg_id="m1", session="s2", username="", date="today", version="5.3")
    folded = Session(id="s1", username="ada").fill_headers(
        ec.interrupt_request().replace(header=header)
    )
    assert folded.header == Header(
        msg_id="m1", session="s2", username="ada", date="today", version="5.3"
    )


def test_fill_headers_returns_complete_message() -> None:
    session = Session()
    message = session.fill_headers(ec.kernel_info_request())
    assert session.fill_headers(message) is message


def test_fill_headers_changes_nothing_else() -> None:
    message = ec.execute_request("6 * 7")
    folded = Session().fill_headers(message)
    assert folded.replace(header=message.header) == message
