"""Codecs of messages: bytes in, messages out, without sockets."""

__all__: list[str] = []
