"""Benchmarks of enchannel beside jupyter_client, jupyter-kernel-client, pyzmq, websockets and reactivex.

``python -m benchmarks`` measures everything, and ``python -m benchmarks.NAME`` one script. All sides of
a comparison run in separate processes and take turns, so that noise affects all of them alike.
"""
