"""What the libraries may log: nothing of what is said, at whatever level."""

from __future__ import annotations

import logging

__all__ = ["log", "quiet"]

log = logging.getLogger("enchannel.socketio")

quiet = logging.Logger("enchannel.socketio.library", logging.CRITICAL)
"""For Socket.IO, which at INFO shows all that is sent: nobody can turn it to that by a name. What it
calls errors reaches who is concerned in other ways."""
quiet.parent = log
