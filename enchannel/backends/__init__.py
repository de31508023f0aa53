"""Toolkit for backend authors: subjects, shared resources, an event-loop thread, server URLs, events."""

from enchannel._kernel.connect import launch_link, open_link
from enchannel._protocol.link_event import EventRecord, decode_error, decode_event, encode_event
from enchannel._protocol.url_secrets import redact_url, token_of_url
from enchannel.backends._event_loop_thread import EventLoopThread
from enchannel.backends._reconnecting_link import (
    ConnectionLoss,
    LinkPhase,
    ReconnectingLink,
)
from enchannel.backends._server_url import ServerUrl, parse_server_url
from enchannel.backends._shared_resource import Lease, SharedResource, Startable
from enchannel.backends._subjects import CallbackObserver, IncomingSubject

__all__ = [
    "CallbackObserver",
    "ConnectionLoss",
    "EventLoopThread",
    "EventRecord",
    "IncomingSubject",
    "Lease",
    "LinkPhase",
    "ReconnectingLink",
    "ServerUrl",
    "SharedResource",
    "Startable",
    "decode_error",
    "decode_event",
    "encode_event",
    "launch_link",
    "open_link",
    "parse_server_url",
    "redact_url",
    "token_of_url",
]
