"""Measure all scripts, or those named on the command line."""

from benchmarks import (
    attaching,
    buffers,
    deliver_on,
    flood,
    idle,
    importing,
    lossless,
    many_kernels,
    memory,
    notebooks,
    open_requests,
    relay,
    round_trip,
    slow_subscriber,
    subscribing,
    websocket,
)
from benchmarks.command import run

SCRIPTS = (
    flood,
    open_requests,
    subscribing,
    many_kernels,
    round_trip,
    deliver_on,
    buffers,
    memory,
    importing,
    attaching,
    idle,
    slow_subscriber,
    lossless,
    websocket,
    relay,
    notebooks,
)

if __name__ == "__main__":
    run([script.SCRIPT for script in SCRIPTS])
