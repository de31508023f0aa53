"""How fast enchannel is, beside jupyter_client, jupyter-kernel-client, plain pyzmq and websockets,
and reactivex's own operators.

``python -m benchmarks`` measures everything; each script measures its own figures. What is compared
runs in processes of its own, in turns, so that a noisy machine is as noisy for everybody.
"""
