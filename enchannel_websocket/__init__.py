"""Jupyter kernels on servers, over their WebSockets: a backend of enchannel.

``enchannel.connect``, ``launch``, ``list_kernels`` and ``list_kernelspecs`` choose it for URLs with the
schemes ``http``, ``https``, ``ws`` and ``wss``.
"""

from enchannel.errors import MissingDependency

try:
    from enchannel_websocket._backend import WebsocketBackend
    from enchannel_websocket._http import ServerRefused
    from enchannel_websocket._options import JupyterKeywords, WebsocketKeywords
except ImportError as _error:
    raise MissingDependency(
        f'kernels on a Jupyter server require {_error.name}; pip install "enchannel[websocket]"'
    ) from _error

__all__ = [
    "JupyterKeywords",
    "ServerRefused",
    "WebsocketBackend",
    "WebsocketKeywords",
    "backend",
]

backend: WebsocketBackend = WebsocketBackend()
"""The object that the entry points name."""
