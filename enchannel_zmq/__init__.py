"""Jupyter kernels over ZeroMQ: a backend of enchannel.

``enchannel.connect`` and ``enchannel.launch`` find it by themselves. For those who come from
nteract's enchannel-zmq-backend there are its functions, in Python's spelling.
"""

from enchannel_zmq._backend import ZmqBackend
from enchannel_zmq._connection_file import (
    connection_files,
    find_connection_file,
    read_connection_file,
    runtime_dir,
)
from enchannel_zmq._subjects import (
    Channels,
    create_channels,
    create_control_subject,
    create_iopub_subject,
    create_main_channel,
    create_shell_subject,
    create_stdin_subject,
)

__all__ = [
    "Channels",
    "ZmqBackend",
    "backend",
    "connection_files",
    "create_channels",
    "create_control_subject",
    "create_iopub_subject",
    "create_main_channel",
    "create_shell_subject",
    "create_stdin_subject",
    "find_connection_file",
    "read_connection_file",
    "runtime_dir",
]

backend = ZmqBackend()
"""What the entry point names."""
