"""Changes of subscriptions by finalizers, in the middle of another change."""

import threading
from collections.abc import Callable

from reactivex.scheduler import VirtualTimeScheduler

import enchannel as ec
from enchannel._rx.changes import Changes
from enchannel._rx.delivery_thread import DeliveryThread
from enchannel._rx.fanout import Fanout
from enchannel._rx.sink import CallbackSink
from enchannel.testing import Collector
from tests.rigs import DEADLINE
from tests.rigs.scripted import ScriptedLink
from tests.rigs.threads import in_thread


class HookedTuple(tuple[object, ...]):
    """Sinks whose copying runs a finalizer, as an allocation may."""

    finalize: Callable[[], None]

    def __iter__(self):  # type: ignore[no-untyped-def]
        self.finalize()
        return super().__iter__()


def test_changes_post_never_waits_for_other_thread() -> None:
    changes, made = Changes(), []
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert leave.wait(DEADLINE)
        made.append("held")

    holder = threading.Thread(target=changes.make, args=[hold])
    holder.start()
    assert entered.wait(DEADLINE)
    changes.post(lambda: made.append("posted"))
    assert made == []
    leave.set()
    holder.join(DEADLINE)
    assert made == ["held", "posted"]


def test_change_inside_change_is_made_after_it() -> None:
    changes, made = Changes(), []

    def outer() -> None:
        changes.make(lambda: made.append("inner"))
        made.append("outer")

    changes.make(outer)
    assert made == ["outer", "inner"]


def test_change_that_raises_does_not_block_later_ones() -> None:
    changes, made = Changes(), []

    def fail() -> None:
        raise ZeroDivisionError

    try:
        changes.make(fail)
    except ZeroDivisionError:
        changes.make(lambda: made.append(1))
    assert made == [1]


def test_detach_inside_attach_is_not_lost() -> None:
    delivery = DeliveryThread("test")
    fanout: Fanout[int] = Fanout(delivery)
    subscription = fanout.attach(CallbackSink())
    hooked = HookedTuple(fanout.sinks)
    hooked.finalize = subscription.dispose
    fanout.sinks = hooked  # type: ignore[assignment]
    added: CallbackSink[int] = CallbackSink()
    fanout.attach(added)
    assert fanout.sinks == (added,)


def test_detach_does_not_wait_for_lock_of_source() -> None:
    fanout: Fanout[int] = Fanout(DeliveryThread("test"))
    subscription = fanout.attach(CallbackSink())
    with fanout.lock:
        in_thread(subscription.dispose)
    assert fanout.sinks == ()


class HookedSet(frozenset[object]):
    """Subscriptions whose copying runs a finalizer, as an allocation may."""

    finalize: Callable[[], None]

    def __or__(self, other):  # type: ignore[no-untyped-def]
        self.finalize()
        return frozenset(self) | other


def test_deliver_on_disposes_inside_subscribe() -> None:
    deliver = ec.deliver_on(VirtualTimeScheduler())
    with ScriptedLink().kernel() as kernel:
        items = kernel.iopub.pipe(deliver)
        disposed = items.subscribe(Collector())
        hooked = HookedSet(deliver._sinks)
        hooked.finalize = disposed.dispose
        deliver._sinks = hooked  # type: ignore[assignment]
        in_thread(lambda: items.subscribe(Collector()))
        assert len(deliver._sinks) == kernel.iopub.observer_count == 1
