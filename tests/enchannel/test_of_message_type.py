"""of_message_type has an overload for every message type, and both type checkers infer contents."""

from typing import Any, assert_type, get_overloads

import reactivex
from reactivex import Observable

from enchannel import contents
from enchannel._protocol.message import AnyMessage, Message, create_message
from enchannel._rx.of_message_type import of_message_type
from enchannel.contents import CONTENT_TYPES


def test_every_message_type_has_an_overload() -> None:
    *table, any_other = (f.__annotations__ for f in get_overloads(of_message_type))
    assert {one["msg_type"]: one["return"] for one in table} == {
        f"Literal[{msg_type!r}]": f"Operator[AnyMessage, Message[c.{content.__name__}]]"
        for msg_type, content in CONTENT_TYPES.items()
    }
    assert any_other == {"msg_types": "str", "return": "Operator[AnyMessage, Message[Any]]"}


def test_checker_infers_content_type() -> None:
    source: Observable[AnyMessage] = reactivex.just(
        create_message("stream", {"name": "stdout", "text": "woo"}, channel="iopub")
    )
    streams = source.pipe(of_message_type("stream"))
    assert_type(streams, Observable[Message[contents.Stream]])
    several = source.pipe(of_message_type("stream", "error"))
    assert_type(several, Observable[Message[Any]])
    again = streams.pipe(of_message_type("error"))
    assert_type(again, Observable[Message[contents.Error]])

    texts: list[str] = []
    streams.subscribe(lambda message: texts.append(message.content["text"]))
    assert texts == ["woo"]
