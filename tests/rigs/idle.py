"""Code for ipykernel that changes the idle status of its own execution."""

__all__ = ["LATE_IDLE", "LOST_IDLE"]

LATE_IDLE = """
import time
kernel = get_ipython().kernel
cell, publish = kernel.get_parent(), kernel._publish_status
def publish_late(status, *arguments, **options):
    if status == "idle":
        kernel._publish_status = publish
        time.sleep(1)
        late = {"name": "stdout", "text": "late\\n"}
        kernel.session.send(kernel.iopub_socket, "stream", late, parent=cell)
    publish(status, *arguments, **options)
kernel._publish_status = publish_late
print("in time", flush=True)
"""
"""Prints a line, replies, and prints another one a second later, before its idle status."""

LOST_IDLE = """
kernel = get_ipython().kernel
publish = kernel._publish_status
def lose_idle(status, *arguments, **options):
    if status == "idle":
        kernel._publish_status = publish
    else:
        publish(status, *arguments, **options)
kernel._publish_status = lose_idle
print("in time", flush=True)
"""
"""Prints a line, and never sends its idle status, as a kernel whose queue is full."""
