"""The constructors in enchannel.messages follow the protocol, as jupyter_client reads it."""

import inspect
import json
import math
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enchannel import messages as build
from enchannel._protocol.channel_name import ChannelName
from enchannel._protocol.message import AnyMessage, Header, Message
from enchannel._protocol.session import Session
from enchannel.contents import CONTENT_TYPES
from enchannel.errors import InvalidMessage
from tests.enchannel.examples import EXAMPLES, FROM_KERNELS, IDS, REQUEST

NEVER_A_CHILD = ("iopub_welcome",)
any_text = st.text(st.characters(codec="utf-8"))


def test_every_message_type_has_a_constructor() -> None:
    assert set(build.__all__) == {*CONTENT_TYPES, "is_child_message", "Parent"}


@pytest.mark.parametrize("msg_type", CONTENT_TYPES)
def test_constructor_has_return_type_and_docstring(msg_type: str) -> None:
    constructor = getattr(build, msg_type)
    kind = CONTENT_TYPES[msg_type]
    assert get_type_hints(constructor)["return"] == Message[kind]  # type: ignore[valid-type]
    assert inspect.getdoc(constructor)


def test_every_constructor_has_an_example() -> None:
    assert {message.header.msg_type for message in EXAMPLES} == CONTENT_TYPES.keys()


def test_message_ids_are_unique() -> None:
    assert len({message.header.msg_id for message in EXAMPLES}) == len(EXAMPLES)
    assert build.connect_request().header.msg_id != build.connect_request().header.msg_id


@pytest.mark.parametrize("message", EXAMPLES, ids=IDS)
def test_jupyter_client_reads_messages(message: AnyMessage) -> None:
    session = pytest.importorskip("jupyter_client.session").Session(key=b"secret")
    message = Session().fill_headers(message)
    ours = {
        "header": message.header.to_dict(),
        "parent_header": message.parent_header.to_dict(),
        "metadata": message.metadata,
        "content": message.content,
    }
    frames = session.serialize(ours, ident=b"client") + list(message.buffers)
    identities, rest = session.feed_identities(frames)
    theirs = session.deserialize(rest)
    assert identities == [b"client"]
    assert theirs["msg_type"] == message.header.msg_type
    assert theirs["header"]["msg_id"] == message.header.msg_id
    assert theirs["parent_header"].get("msg_id", "") == message.parent_header.msg_id
    assert theirs["metadata"] == message.metadata
    assert theirs["content"] == message.content
    assert list(map(bytes, theirs["buffers"])) == list(map(bytes, message.buffers))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("execute", {"code": "6 * 7"}),
        ("complete", {"code": "pri"}),
        ("inspect", {"code": "pri"}),
        ("is_complete", {"code": "if x:"}),
        ("comm_info", {}),
        ("kernel_info", {}),
        ("shutdown", {"restart": True}),
    ],
)
def test_request_content_equals_jupyter_client(name: str, arguments: dict[str, Any]) -> None:
    client_module = pytest.importorskip("jupyter_client.client")
    sent: list[dict[str, Any]] = []

    class Channel:
        send = staticmethod(sent.append)

    class Client(client_module.KernelClient):  # type: ignore[misc,name-defined]
        shell_channel = control_channel = Channel()
        allow_stdin = False

    getattr(Client(), name)(**arguments)
    ours = getattr(build, f"{name}_request")(**arguments)
    assert ours.content == sent[0]["content"]


def test_cursor_defaults_to_end_of_code() -> None:
    assert build.complete_request("pri").content["cursor_pos"] == 3
    assert build.complete_request("pri", 0).content["cursor_pos"] == 0
    assert build.inspect_request("pri", 1).content["cursor_pos"] == 1


@given(any_text)
def test_cursor_counts_code_points(code: str) -> None:
    end = len(code.encode("utf-32-le")) // 4
    assert build.complete_request(code).content["cursor_pos"] == end
    assert build.inspect_request(code).content["cursor_pos"] == end


def test_execute_request_defaults() -> None:
    assert build.execute_request("x").content == {
        "code": "x",
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (
            build.history_request("tail", n=5),
            {"hist_access_type": "tail", "output": False, "raw": True, "n": 5},
        ),
        (
            build.history_request("range", session=-1, start=2, stop=4, output=True),
            {
                "hist_access_type": "range",
                "output": True,
                "raw": True,
                "session": -1,
                "start": 2,
                "stop": 4,
            },
        ),
        (
            build.history_request("range"),
            {"hist_access_type": "range", "output": False, "raw": True, "session": 0, "start": 0},
        ),
        (
            build.history_request("search", pattern="a*", unique=True, raw=False),
            {
                "hist_access_type": "search",
                "output": False,
                "raw": False,
                "pattern": "a*",
                "unique": True,
            },
        ),
    ],
)
def test_history_request_fields_per_access_type(
    message: AnyMessage, content: dict[str, Any]
) -> None:
    assert message.content == content


def test_omitted_arguments_are_not_sent() -> None:
    assert build.comm_info_request().content == {}
    assert "arguments" not in build.debug_request("attach", seq=1).content
    assert "target_module" not in build.comm_open("c", "t").content
    assert "body" not in build.debug_event("stopped", seq=1).content
    failed = build.debug_reply("attach", seq=2, request_seq=1, success=False, parent=REQUEST)
    assert not {"body", "message"} & failed.content.keys()
    assert "execution_count" not in build.execute_reply(status="aborted", parent=REQUEST).content
    assert build.connect_reply(shell_port=1, parent=REQUEST).content == {
        "status": "ok",
        "shell_port": 1,
    }


def test_execute_reply_fields_per_status() -> None:
    ok = build.execute_reply(1, parent=REQUEST)
    failed = build.execute_reply(1, status="error", ename="E", evalue="e", parent=REQUEST)
    aborted = build.execute_reply(status="aborted", parent=REQUEST)
    assert set(ok.content) == {"status", "execution_count", "payload", "user_expressions"}
    assert set(failed.content) == {"status", "execution_count", "ename", "evalue", "traceback"}
    assert set(aborted.content) == {"status"}


def test_indent_only_for_incomplete_code() -> None:
    reply = build.is_complete_reply
    assert reply("incomplete", indent="  ", parent=REQUEST).content.get("indent") == "  "
    assert reply("incomplete", parent=REQUEST).content.get("indent") == ""
    assert "indent" not in reply("complete", indent="  ", parent=REQUEST).content


def test_inspect_reply_without_data_is_not_found() -> None:
    nothing = build.inspect_reply(parent=REQUEST).content
    something = build.inspect_reply({}, parent=REQUEST).content
    assert nothing == {"status": "ok", "found": False, "data": {}, "metadata": {}}
    assert something == {"status": "ok", "found": True, "data": {}, "metadata": {}}


def test_reply_uses_channel_of_request() -> None:
    def info(parent: AnyMessage | Header, **options: Any) -> ChannelName:
        return build.kernel_info_reply(
            implementation="fake",
            implementation_version="1",
            language_info={"name": "x", "version": "1", "file_extension": ".x"},
            parent=parent,
            **options,
        ).channel

    on_control = build.kernel_info_request(channel="control")
    assert info(build.kernel_info_request()) is ChannelName.SHELL
    assert info(on_control) is ChannelName.CONTROL
    assert info(on_control.header) is ChannelName.SHELL
    assert info(on_control.header, channel="control") is ChannelName.CONTROL

    old = build.shutdown_request().replace(channel="shell")
    assert build.shutdown_reply(parent=old).channel is ChannelName.SHELL
    assert build.shutdown_reply(parent=old.header).channel is ChannelName.CONTROL
    assert build.shutdown_reply(parent=old, channel="iopub").channel is ChannelName.IOPUB


def test_parent_may_be_message_or_header() -> None:
    by_message = build.stream("stdout", "x", parent=REQUEST)
    by_header = build.stream("stdout", "x", parent=REQUEST.header)
    assert by_message.parent_header == by_header.parent_header == REQUEST.header


@pytest.mark.parametrize("message", FROM_KERNELS, ids=lambda m: m.header.msg_type)
def test_child_message_is_recognized(message: AnyMessage) -> None:
    parent = message.parent_header
    assert build.is_child_message(parent, message) == bool(parent)
    assert not build.is_child_message(build.connect_request(), message)


def test_reply_requires_parent() -> None:
    replies = [name for name in CONTENT_TYPES if name.endswith("_reply") and name != "input_reply"]
    for name in replies:
        parent = inspect.signature(getattr(build, name)).parameters["parent"]
        assert parent.default is inspect.Parameter.empty


def test_kernel_message_accepts_parent() -> None:
    kernels = {message.header.msg_type for message in FROM_KERNELS}.difference(NEVER_A_CHILD)
    for name in kernels:
        assert "parent" in inspect.signature(getattr(build, name)).parameters


def test_message_without_parent_is_not_a_child() -> None:
    orphan = build.stream("stdout", "x")
    assert not build.is_child_message(Header(), orphan)
    assert not build.is_child_message(build.stream("stdout", "y"), orphan)
    assert build.is_child_message(REQUEST, build.stream("stdout", "x", parent=REQUEST))
    assert build.is_child_message(REQUEST.header, build.stream("stdout", "x", parent=REQUEST))


def test_subshell_id_is_in_the_header() -> None:
    assert build.execute_request("x", subshell_id="a1").header.subshell_id == "a1"
    assert "subshell_id" not in build.execute_request("x").header.to_dict()
    child = build.stream("stdout", "x", parent=build.execute_request("x", subshell_id="a1"))
    assert child.parent_header.subshell_id == "a1"
    assert child.header.subshell_id is None


def test_tuples_become_lists_in_content() -> None:
    content = build.history_reply([(1, 2, ("in", "out"))], parent=REQUEST).content
    assert json.dumps(content.get("history")) == '[[1, 2, ["in", "out"]]]'


def test_non_json_value_error_names_path() -> None:
    with pytest.raises(
        InvalidMessage, match=r"content\.data\.a\[1\] must be a finite number, not nan"
    ):
        build.comm_msg("c", {"a": [1, math.nan]})
    with pytest.raises(
        InvalidMessage, match=r"content\.data\.image/png must be a JSON value, not bytes"
    ):
        build.display_data({"image/png": b"\x89PNG"})
    with pytest.raises(InvalidMessage, match=r"channel must be one of .*, not 'iopup'"):
        build.comm_open("c", "t", channel="iopup")
