"""Jupyter kernels on servers, over their WebSockets: a backend of enchannel.

``enchannel.connect`` and ``enchannel.launch`` choose it for URLs with the schemes ``http``, ``https``,
``ws`` and ``wss``.
"""

from enchannel_websocket._backend import WebsocketBackend
from enchannel_websocket._listing import list_kernels, list_kernelspecs
from enchannel_websocket._options import JupyterKeywords, WebsocketKeywords
from enchannel_websocket._server import KernelModel

__all__ = [
    "JupyterKeywords",
    "KernelModel",
    "WebsocketBackend",
    "WebsocketKeywords",
    "backend",
    "list_kernels",
    "list_kernelspecs",
]

backend: WebsocketBackend = WebsocketBackend()
"""The object that the entry points name."""
