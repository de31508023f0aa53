"""The ZeroMQ backend of enchannel: kernels on this machine, and kernels with a connection file.

``enchannel.connect`` and ``enchannel.launch`` find it by its entry point. The ``create_…`` functions
correspond to those of nteract's enchannel-zmq-backend.
"""

from enchannel_zmq._backend import ZmqBackend
from enchannel_zmq._connection_file import (
    connection_files,
    find_connection_file,
    read_connection_file,
    runtime_dir,
)
from enchannel_zmq.nteract_compat import (
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

backend: ZmqBackend = ZmqBackend()
"""The object that the entry point names."""
