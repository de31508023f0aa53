"""No subscriber is called and no message is sent with a lock held, and locks have one order."""

import enchannel as ec
from enchannel.memory import InMemoryKernel
from enchannel.testing import Collector, FakeKernel
from tests.rigs.locks import LockRecorder
from tests.rigs.scripted import ScriptedLink
from tests.rigs.threads import Thread


def test_locks_are_taken_in_one_order() -> None:
    with LockRecorder() as recorder:
        with InMemoryKernel() as end:
            FakeKernel(end)
            with ec.connect(end.target, max_in_flight=2) as kernel:
                seen = [Collector[ec.AnyMessage]() for _ in range(20)]
                kernel.state.subscribe()
                for collector in seen:
                    kernel.execute("woo", timeout=60).subscribe(collector)
                for thread in [Thread(lambda: kernel.run("woo")) for _ in range(4)]:
                    assert thread.result().text == "woo"
                for collector in seen:
                    collector.wait_for_end()
                end.die()
        kernel.execute("late").subscribe(on_error=print)
        remote = ScriptedLink(idle_is_last=False)
        with remote.kernel(max_in_flight=1) as scripted:
            scripted.execute("a", interrupt_if_abandoned=True).subscribe().dispose()
            scripted.execute("b", timeout=1).subscribe(on_error=print)
            remote.clock.advance_by(2)
    assert recorder.faults() == []
