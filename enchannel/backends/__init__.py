"""Toolkit for backend authors: subjects, shared resources, an event-loop thread, server URLs, events."""

from enchannel._kernel.connect import launch_link, open_link
from enchannel._protocol.link_event import EventRecord, decode_error, decode_event, encode_event
from enchannel._protocol.url_secrets import redact_url, token_of_url
from enchannel._rx.library_threads import mark_io_thread
from enchannel._rx.waiting import refuse_on_event_loop
from enchannel.backends._event_loop_thread import EventLoopThread
from enchannel.backends._kernel_search import find_kernel
from enchannel.backends._link_phase import LinkPhase
from enchannel.backends._proxies import ProxyChoice, choose_proxy
from enchannel.backends._reconnecting_link import ConnectionLoss, ReconnectingLink
from enchannel.backends._response_body import (
    MAX_RESPONSE_BYTES,
    InvalidResponseBody,
    read_body,
)
from enchannel.backends._server_calls import (
    ServerClient,
    call_server,
    open_on_server,
    start_or_undo,
    undo_start,
)
from enchannel.backends._server_options import ServerKeywords, ServerOptions
from enchannel.backends._server_url import ServerUrl, parse_server_url
from enchannel.backends._shared_resource import Lease, SharedResource, Startable
from enchannel.backends._subjects import CallbackObserver, IncomingSubject

__all__ = [
    "CallbackObserver",
    "ConnectionLoss",
    "EventLoopThread",
    "EventRecord",
    "IncomingSubject",
    "InvalidResponseBody",
    "Lease",
    "LinkPhase",
    "MAX_RESPONSE_BYTES",
    "ProxyChoice",
    "ReconnectingLink",
    "ServerClient",
    "ServerKeywords",
    "ServerOptions",
    "ServerUrl",
    "SharedResource",
    "Startable",
    "call_server",
    "choose_proxy",
    "decode_error",
    "decode_event",
    "encode_event",
    "find_kernel",
    "launch_link",
    "mark_io_thread",
    "open_link",
    "open_on_server",
    "parse_server_url",
    "read_body",
    "redact_url",
    "refuse_on_event_loop",
    "start_or_undo",
    "token_of_url",
    "undo_start",
]
