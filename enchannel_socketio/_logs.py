"""Loggers. Those of Socket.IO would show the contents of messages, so they are silenced at any level."""

from __future__ import annotations

import logging

__all__ = ["log", "quiet"]

log = logging.getLogger("enchannel.socketio")

quiet = logging.Logger("enchannel.socketio.library", logging.CRITICAL)
"""The logger for Socket.IO, which logs all messages at INFO.

The logger is not registered, so its level cannot be set by name. Errors that Socket.IO logs are reported
otherwise.
"""
quiet.parent = log
