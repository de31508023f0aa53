"""Jupyter kernels on servers, over their WebSockets: a backend of enchannel.

``enchannel.connect`` and ``enchannel.launch`` find it by themselves, by ``http``, ``https``, ``ws`` and
``wss``.
"""

from enchannel_websocket._backend import WebsocketBackend
from enchannel_websocket._listing import list_kernels, list_kernelspecs
from enchannel_websocket._server import KernelModel

__all__ = ["KernelModel", "WebsocketBackend", "backend", "list_kernels", "list_kernelspecs"]

backend: WebsocketBackend = WebsocketBackend()
"""What the entry points name."""
