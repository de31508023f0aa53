"""Random operations on real kernels, with a checker of invariants.

``python -m tests.soak --minutes 20 --seed 1`` runs them; ``tests/enchannel_zmq/test_soak.py`` runs a few.

A soak is a series of rounds. In a round, actors (threads, and tasks of one event loop) perform operations
on shared kernels, each of which has a client that launched it and one that connected to it. The seed, the
number of the round and that of the actor determine every operation. When all operations of a round have
ended, the kernels must be as they were before.
"""
