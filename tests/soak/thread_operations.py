"""The operations that threads perform."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from reactivex import Observable
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler

import enchannel as ec
from tests.soak.catalog import Group, function
from tests.soak.journal import Cause, Violation
from tests.soak.kernels import HANG_TIMEOUT, wait_for
from tests.soak.languages import ECHO_TARGET, Feature
from tests.soak.operation import Operation, Tracked, stream_text

__all__: list[str] = []

LONG_TIMEOUT = HANG_TIMEOUT * 2
SHORT_TIMEOUTS = (0.001, 0.01, 0.05, 0.1, 0.3)


# -- without effect on others ---------------------------------------------------------------------------


@function(Group.CALM)
def run(op: Operation) -> None:
    count = op.rng.choice([1, 3, 50])
    with op.judged() as attempt:
        result = op.kernel.run(
            op.lines(count),
            timeout=op.rng.choice([None, LONG_TIMEOUT]),
            stop_on_error=op.rng.random() < 0.5,
            store_history=op.rng.random() < 0.5,
        )
    if attempt.error is None:
        op.check_lines(stream_text(result.outputs), count, "run")
        op.check(result.status == "ok", f"run has the status {result.status}")


@function(Group.CALM)
def run_unchecked(op: Operation) -> None:
    with op.judged() as attempt:
        result = op.kernel.run(op.lines(5), check=False)
    if attempt.error is None:
        with op.judged():
            result.check()
            op.check_lines(stream_text(result.outputs), 5, "run(check=False)")


@function(Group.CALM, Feature.OWN_OUTPUT)
def run_with_budget(op: Operation) -> None:
    with op.judged() as attempt:
        result = op.kernel.run(op.lines(200), max_output=100)
    if attempt.error is None:
        text = stream_text(result.outputs)
        op.check(result.truncated, "a result over max_output is not marked as truncated")
        op.check(len(text) <= 1000, f"{len(text)} characters kept with max_output=100")


@function(Group.CALM)
def flood(op: Operation) -> None:
    with op.judged() as attempt:
        result = op.kernel.run(op.lines(2000))
    if attempt.error is None:
        op.check_lines(stream_text(result.outputs), 2000, "a flood")


@function(Group.CALM)
def execute_messages(op: Operation) -> None:
    count = op.rng.choice([1, 10])
    with op.judged() as attempt:
        tracked = op.start(lambda: Tracked(op, op.kernel.execute(op.lines(count))))
        tracked.wait()
    if attempt.error is None:
        check_messages(op, tracked.items, count)


@function(Group.CALM)
def execute_outputs(op: Operation) -> None:
    with op.judged() as attempt:
        tracked = op.start(lambda: Tracked(op, op.kernel.execute(op.lines(10)).pipe(ec.outputs())))
        tracked.wait()
    if attempt.error is None:
        op.check_lines(stream_text(tracked.items), 10, "outputs()")


@function(Group.CALM)
def execute_checked_outputs(op: Operation) -> None:
    source = op.kernel.execute(op.lines(10)).pipe(ec.check(), ec.accumulate_outputs())
    with op.judged() as attempt:
        tracked = op.start(lambda: Tracked(op, source))
        tracked.wait()
    if attempt.error is None:
        op.check_lines(stream_text(tracked.items[-1]), 10, "accumulate_outputs()")


@function(Group.CALM)
def execute_to_result(op: Operation) -> None:
    with op.judged() as attempt:
        result = ec.wait(op.kernel.execute(op.lines(10)).pipe(ec.to_result()))
    if attempt.error is None:
        op.check_lines(stream_text(result.outputs), 10, "to_result()")


@function(Group.CALM)
def execute_shared(op: Operation) -> None:
    shared = op.kernel.execute(op.lines(10)).pipe(ec.check(), ops.share())
    with op.judged() as attempt:
        first = Tracked(op, shared.pipe(ec.outputs()))
        second = Tracked(op, shared, dispose_after=op.rng.randrange(4))
        first.wait()
        second.wait()
    if attempt.error is None:
        op.check_lines(stream_text(first.items), 10, "a shared request")


@function(Group.CALM)
def execute_delivered(op: Operation) -> None:
    scheduler = EventLoopScheduler()
    deliver = ec.deliver_on(
        scheduler, overflow=op.rng.choice(["buffer", "coalesce"]), interval=op.rng.choice([0, 0.02])
    )
    try:
        with op.judged() as attempt:
            tracked = Tracked(
                op, op.kernel.execute(op.lines(100)).pipe(ec.check(), deliver, ec.outputs())
            )
            tracked.wait()
        if attempt.error is None:
            op.check_lines(stream_text(tracked.items), 100, "deliver_on")
        op.check(deliver.backlog == 0, f"the backlog is {deliver.backlog} after the end")
    finally:
        scheduler.dispose()


@function(Group.CALM)
def burst(op: Operation) -> None:
    count = op.rng.choice([2, 10, 40])
    requests = list[Tracked[ec.Result]]()
    with op.judged():
        for _ in range(count):
            requests.append(Tracked(op, op.kernel.execute(op.lines(2)).pipe(ec.to_result())))
    for request in requests:
        with op.judged(since=op.began) as attempt:
            request.wait()
        if attempt.error is None:
            op.check_lines(stream_text(request.items[0].outputs), 2, "one of a burst")


@function(Group.CALM)
def dispose_running_on(op: Operation) -> None:
    with op.judged():
        after = op.rng.randrange(6)
        op.note(f"disposes after {after} messages")
        op.start(lambda: Tracked(op, op.kernel.execute(op.lines(20)), dispose_after=after)).wait()


@function(Group.CALM)
def dispose_in_another_thread(op: Operation) -> None:
    with op.judged():
        tracked = Tracked(op, op.kernel.execute(op.lines(20)))
        tracked.wait_for_items(op.rng.randrange(4))
        thread = threading.Thread(target=tracked.dispose)
        thread.start()
        thread.join(HANG_TIMEOUT)
        op.check(not thread.is_alive(), "dispose() does not return")
        tracked.wait()


@function(Group.CALM)
def small_requests(op: Operation) -> None:
    kernel = op.kernel
    requests: list[Callable[[], Observable[Any]]] = [
        lambda: kernel.kernel_info(timeout=None),
        lambda: kernel.complete("pri", timeout=None),
        lambda: kernel.inspect("print", timeout=None),
        lambda: kernel.is_complete("for x in y:", timeout=None),
        lambda: kernel.history("tail", n=3, timeout=None),
        lambda: kernel.comm_info(timeout=None),
    ]
    for request in op.rng.sample(requests, k=2):
        with op.judged() as attempt:
            tracked = op.start(lambda request=request: Tracked(op, request()))  # type: ignore[misc]
            tracked.wait()
        if attempt.error is None:
            op.check(len(tracked.items) == 1, f"a reply observable emitted {tracked.items}")


@function(Group.CALM)
def small_request_with_timeout(op: Operation) -> None:
    with op.judged(ec.RequestTimeout):
        Tracked(op, op.kernel.kernel_info(timeout=op.rng.choice(SHORT_TIMEOUTS))).wait()


@function(Group.CALM)
def wait_with_timeout(op: Operation) -> None:
    with op.judged(ec.RequestTimeout):
        ec.wait(op.kernel.execute(op.lines(3)), timeout=op.rng.choice(SHORT_TIMEOUTS))


@function(Group.CALM)
def subscribe_channel(op: Operation) -> None:
    name = op.rng.choice(["iopub", "shell", "main", "sent", "state", "errors", "link_state"])
    op.note(f"subscribes to {name}")
    with op.judged() as attempt:
        tracked: Tracked[Any] = op.start(lambda: Tracked(op, getattr(op.kernel, name)))
    if attempt.error is None:
        with op.judged():
            op.kernel.run(op.lines(op.rng.randrange(1, 4)))
        tracked.dispose()


@function(Group.CALM)
def subscribe_and_raise(op: Operation) -> None:
    since = time.monotonic()
    raised = ValueError(f"{op.token} raised on purpose")
    ended: list[object] = []
    has_ended = threading.Event()

    def end(event: object = "completed") -> None:
        ended.append(event)
        has_ended.set()

    def raise_it(_: object) -> None:
        raise raised

    op.client.expect(raised)
    with op.judged():
        op.kernel.execute(op.lines(3)).subscribe(raise_it, end, end)
        if not has_ended.wait(HANG_TIMEOUT):
            raise Violation(f"{op.id}: a subscription whose subscriber raised did not end")
        op.check(len(ended) == 1, f"a subscription whose subscriber raised ended {ended}")
        # The request fails before the first message only if something else happens.
        if not isinstance(ended[0], Exception):
            op.report("a subscription whose subscriber raised completed")
        elif ended[0].__cause__ is not raised:
            op.judge(ended[0], since)


@function(Group.CALM)
def attach(op: Operation) -> None:
    with op.judged() as attempt:
        third = op.connect()
    if attempt.error is None:
        op.use(third)
        with op.judged():
            result = op.kernel.run(op.lines(3))
            op.check_lines(stream_text(result.outputs), 3, "a third client")
        third.close()


@function(Group.CALM, Feature.DISPLAY)
def display_updates(op: Operation) -> None:
    code = (
        f"_h = display('{op.token}', display_id=True)\n"
        f"for _i in range(20): _h.update(f'{op.token}{{_i}}')"
    )
    with op.judged() as attempt:
        result = op.kernel.run(code)
    if attempt.error is None:
        texts = [
            output["data"]["text/plain"]
            for output in result.outputs
            if output["output_type"] == "display_data"
        ]
        op.check(texts == [f"'{op.token}19'"], f"an updated display shows {texts}")


@function(Group.CALM, Feature.INPUT)
def answer_input(op: Operation) -> None:
    code = f"print(input('one') + input('two') + {op.token!r})"
    answers = iter("ab")
    with op.judged() as attempt:
        result = op.kernel.run(code, on_input=lambda _: next(answers))
    if attempt.error is None:
        text = stream_text(result.outputs)
        op.check(text.endswith(f"ab{op.token}\n"), f"the answered code printed {text!r}")


@function(Group.CALM, Feature.COMM)
def comm_to_kernel(op: Operation) -> None:
    count = op.rng.randrange(1, 20)
    with op.judged() as attempt:
        comm = op.start(lambda: op.kernel.comm(ECHO_TARGET))
        try:
            tracked = Tracked(op, comm, dispose_after=count)
            for number in range(count):
                comm.send({"number": number})
            tracked.wait()
        finally:
            comm.close()
    if attempt.error is None and tracked.is_disposed:
        check_comm(op, tracked.items, count)


@function(Group.CALM, Feature.COMM)
def comm_from_kernel(op: Operation) -> None:
    count, target = op.rng.randrange(1, 20), f"soak.{op.token}"
    code = (
        "from comm import create_comm\n"
        f"_c = create_comm(target_name={target!r})\n"
        f"for _i in range({count}): _c.send({{'number': _i}})\n"
        "_c.close()"
    )
    found: list[Tracked[ec.AnyMessage]] = []

    def take(comm: ec.Comm) -> None:
        found.append(Tracked(op, comm))

    with op.judged() as attempt, op.kernel.comms(target).subscribe(take):
        op.kernel.run(code)
        # The observable delivers on another thread than ``run``.
        wait_for(lambda: bool(found), lambda: f"{op.id}: the kernel opened no comm")
        comms = found[:]
    if attempt.error is None:
        op.check(len(comms) == 1, f"the kernel opened {len(comms)} comms instead of one")
        for tracked in comms:
            with op.judged() as attempt:
                tracked.wait()
            if attempt.error is None:
                check_comm(op, tracked.items[1:-1], count)


@function(Group.CALM, Feature.SUBSHELL)
def subshell(op: Operation) -> None:
    with op.judged(), op.kernel.subshell() as shell:
        result = shell.run(op.lines(5))
        op.check_lines(stream_text(result.outputs), 5, "a subshell")


@function(Group.CALM, Feature.FAILURE)
def queue_ending_with_failure(op: Operation) -> None:
    with op.judged(ec.KernelError):
        result = op.kernel.run(op.language.failing, stop_on_error=False, check=False)
        op.check(result.status != "ok", f"failing code has the status {result.status}")
        result.check()


# -- whose code raises ---------------------------------------------------------------------------------


@function(Group.FAIL)
def fail(op: Operation) -> None:
    failure = op.disturb(Cause.ERROR)
    with op.judged(ec.KernelError) as attempt:
        op.kernel.run(op.language.failing)
        op.report("failing code did not raise")
    failure.end()
    run_clean(op, "after failing code", but_for=attempt.error)


@function(Group.FAIL)
def fail_before_others(op: Operation) -> None:
    failure = op.disturb(Cause.ERROR)
    failing = list[Tracked[ec.AnyMessage]]()
    others = list[Tracked[Any]]()
    with op.judged():
        failing.append(Tracked(op, op.kernel.execute(op.language.failing).pipe(ec.check())))
        for _ in range(op.rng.randrange(1, 5)):
            others.append(Tracked(op, op.kernel.execute(op.lines(3)).pipe(ec.outputs())))
    for request in failing:
        with op.judged(ec.KernelError, since=op.began):
            request.wait()
    for other in others:
        with op.judged(by_itself=[Cause.ERROR], since=op.began) as attempt:
            other.wait()
        if attempt.error is None:
            op.check_lines(stream_text(other.items), 3, "outputs() behind failing code")
    failure.end()


# -- that stop code ------------------------------------------------------------------------------------


@function(Group.STOP)
def run_until_timeout(op: Operation) -> None:
    timeout, code = op.rng.choice(SHORT_TIMEOUTS), op.rng.choice(op.language.endless)
    stop = op.disturb(Cause.INTERRUPT)
    op.note(f"timeout {timeout}, {code!r}")
    with op.judged(ec.RequestTimeout) as attempt:
        op.kernel.run(code, timeout=timeout)
        op.report("endless code ended")
    if isinstance(attempt.error, ec.RequestTimeout):
        op.check(attempt.error.result is not None, "a RequestTimeout of run has no result")
    run_clean(op, "after a timeout", but_for=attempt.error)
    op.settle(stop)


@function(Group.STOP)
def execute_until_timeout(op: Operation) -> None:
    timeout, code = op.rng.choice(SHORT_TIMEOUTS), op.rng.choice(op.language.endless)
    stop = op.disturb(Cause.INTERRUPT)
    op.note(f"timeout {timeout}, {code!r}")
    with op.judged(ec.RequestTimeout) as attempt:
        source = op.kernel.execute(code, timeout=timeout, interrupt_if_abandoned=True)
        Tracked(op, source.pipe(ec.check())).wait()
        op.report("endless code ended")
    run_clean(op, "after a timeout", but_for=attempt.error)
    op.settle(stop)


@function(Group.STOP)
def dispose_endless(op: Operation) -> None:
    after, code = op.rng.randrange(3), op.rng.choice(op.language.endless)
    stop = op.disturb(Cause.INTERRUPT)
    op.note(f"disposes after {after} messages, {code!r}")
    with op.judged() as attempt:
        op.start(
            lambda: Tracked(
                op, op.kernel.execute(code, interrupt_if_abandoned=True), dispose_after=after
            )
        ).wait()
    run_clean(op, "after a dispose", but_for=attempt.error)
    op.settle(stop)


@function(Group.STOP)
def dispose_endless_later(op: Operation) -> None:
    code, seconds = op.rng.choice(op.language.endless), op.rng.choice(SHORT_TIMEOUTS)
    stop = op.disturb(Cause.INTERRUPT)
    op.note(f"disposes after {seconds} s, {code!r}")
    with op.judged() as attempt:
        tracked = Tracked(op, op.kernel.execute(code, interrupt_if_abandoned=True))
        threading.Event().wait(seconds)
        op.start(tracked.dispose)
        if tracked.error is not None:
            raise tracked.error
    run_clean(op, "after a dispose", but_for=attempt.error)
    op.settle(stop)


@function(Group.STOP)
def dispose_queued(op: Operation) -> None:
    code = op.rng.choice(op.language.endless)
    stop = op.disturb(Cause.INTERRUPT)
    queued = list[Tracked[ec.AnyMessage]]()
    with op.judged() as attempt:
        queued += [
            Tracked(op, op.kernel.execute(code, interrupt_if_abandoned=True))
            for _ in range(op.rng.randrange(2, 5))
        ]
    # The others wait behind the first, which never ends.
    for tracked in queued[:1]:
        tracked.wait_for_items(op.rng.randrange(2))
    op.rng.shuffle(queued)
    for tracked in queued:
        tracked.dispose()
        if tracked.error is not None:
            op.judge(tracked.error, 0.0, by_itself=[Cause.INTERRUPT])
    run_clean(op, "after disposing of queued requests", but_for=attempt.error)
    op.settle(stop)


@function(Group.STOP)
def interrupt_endless(op: Operation) -> None:
    code = op.rng.choice(op.language.endless)
    stop = op.disturb(Cause.INTERRUPT)
    with op.judged():
        source = op.kernel.execute(code, interrupt_if_abandoned=True).pipe(ec.check())
        tracked = Tracked(op, source)
        # After busy and execute_input, the code runs or is about to.
        tracked.wait_for_items(2)
        while not tracked.has_ended:
            # An interrupt just before the code starts has no effect.
            ec.wait(op.start(op.kernel.interrupt))
            tracked.ends_within(0.2)
    with op.judged(by_itself=[Cause.INTERRUPT], since=op.began):
        tracked.wait()
    op.settle(stop)


@function(Group.STOP)
def interrupt_others(op: Operation) -> None:
    stop = op.disturb(Cause.INTERRUPT)
    with op.judged():
        ec.wait(op.kernel.interrupt())
    op.settle(stop)


@function(Group.STOP, Feature.INPUT)
def dispose_waiting_for_input(op: Operation) -> None:
    asked = threading.Event()

    def on_input(_: object) -> Observable[str]:
        asked.set()
        return Observable[str]()

    stop = op.disturb(Cause.INTERRUPT)
    with op.judged() as attempt:
        tracked = Tracked(op, op.kernel.execute("input('never answered')", on_input=on_input))
        while not (asked.wait(0.05) or tracked.has_ended):
            pass
        tracked.dispose()
        if tracked.error is not None:
            raise tracked.error
    run_clean(op, "after a dispose in input()", but_for=attempt.error)
    op.settle(stop)


@function(Group.STOP, Feature.SUBSHELL)
def timeout_in_subshell(op: Operation) -> None:
    # Python runs signal handlers in the main thread only, so this code ends by itself.
    stop = op.disturb(Cause.INTERRUPT)
    with op.judged(ec.RequestTimeout), op.kernel.subshell() as shell:
        shell.run("import time; time.sleep(0.5)", timeout=op.rng.choice(SHORT_TIMEOUTS))
    op.settle(stop)


# -- that end the process or a client ------------------------------------------------------------------


@function(Group.END)
def kill(op: Operation) -> None:
    with op.shared.lethal:
        op.use(op.shared.owner)
        death = op.disturb(Cause.DEATH)
        with op.judged(ec.KernelDied, ec.ConnectionLost):
            tracked = Tracked(op, op.kernel.execute(op.language.endless[0]).pipe(ec.check()))
            tracked.wait_for_items(op.rng.randrange(3))
            op.note("kills")
            op.shared.kill()
            tracked.wait()
            op.report("a request completed though its kernel was killed")
        op.shared.recover()
        death.end()


@function(Group.END)
def kill_idle(op: Operation) -> None:
    with op.shared.lethal:
        op.use(op.shared.owner)
        death = op.disturb(Cause.DEATH)
        states = Tracked(op, op.kernel.state)
        op.shared.kill()
        while (
            ec.KernelState.DEAD not in states.items
            and ec.KernelState.RESTARTING not in states.items
        ):
            states.wait_for_items(len(states.items) + 1)
        states.dispose()
        op.shared.recover()
        death.end()


@function(Group.END)
def exit_by_itself(op: Operation) -> None:
    code = {"bash": "exit 3", "deno": "Deno.exit(3)"}.get(
        op.language.kernel, "import os; os._exit(3)"
    )
    with op.shared.lethal:
        op.use(op.shared.owner)
        death = op.disturb(Cause.DEATH)
        with op.judged(ec.KernelDied, ec.ConnectionLost):
            op.kernel.run(code, timeout=HANG_TIMEOUT)
            op.report("a request completed though its kernel exited")
        op.shared.recover()
        death.end()


@function(Group.END)
def restart(op: Operation) -> None:
    with op.shared.lethal:
        op.use(op.shared.owner)
        death = op.disturb(Cause.DEATH)
        kernel = op.kernel
        with op.judged(ec.KernelDied, ec.ConnectionLost):
            running = Tracked(op, kernel.execute(op.language.endless[0]).pipe(ec.check()))
            running.wait_for_items(op.rng.randrange(3))
        with op.judged():
            action = op.start(kernel.restart)
            if op.rng.random() < 0.3:
                kernel.interrupt()
            if op.rng.random() < 0.3:
                op.shared.kill()
            ec.wait(action, timeout=HANG_TIMEOUT)
        with op.judged(ec.KernelDied, ec.ConnectionLost, since=op.began):
            running.wait()
            op.report("a request completed though its kernel was restarted")
        op.shared.recover()
        death.end()


@function(Group.END)
def restart_twice(op: Operation) -> None:
    with op.shared.lethal:
        op.use(op.shared.owner)
        death = op.disturb(Cause.DEATH)
        kernel = op.kernel
        actions = [kernel.restart()]
        thread = threading.Thread(target=lambda: actions.append(kernel.restart()))
        thread.start()
        thread.join(HANG_TIMEOUT)
        for action in actions:
            with op.judged():
                ec.wait(action, timeout=HANG_TIMEOUT)
        op.shared.recover()
        death.end()


@function(Group.END)
def shut_down(op: Operation) -> None:
    with op.shared.lethal:
        op.use(op.shared.owner)
        death, close = op.disturb(Cause.DEATH), op.disturb(Cause.CLOSE)
        op.use(op.rng.choice(op.shared.clients()))
        with op.judged(ec.KernelDied, ec.ConnectionLost):
            ec.wait(op.start(op.kernel.shutdown), timeout=HANG_TIMEOUT)
        op.shared.relaunch()
        death.end()
        close.end()


@function(Group.END)
def close_while_busy(op: Operation) -> None:
    with op.shared.lethal:
        op.use(op.shared.owner)
        death, close = op.disturb(Cause.DEATH), op.disturb(Cause.CLOSE)
        requests = []
        with op.judged():
            requests = [
                Tracked(op, client.kernel.execute(op.language.endless[0]).pipe(ec.check()))
                for client in op.shared.clients()
            ]
            requests[0].wait_for_items(op.rng.randrange(3))
        op.shared.relaunch()
        death.end()
        for request in requests:
            # A kernel may be interrupted while it shuts down.
            with op.judged(by_itself=[Cause.DEATH, Cause.CLOSE], since=op.began):
                request.wait()
                op.report("a request completed though its client was closed")
        close.end()


# -- steps ---------------------------------------------------------------------------------------------


def run_clean(op: Operation, when: str, *, but_for: BaseException | None) -> None:
    """Run code of the same client, which nothing that this operation did before may affect."""
    if isinstance(but_for, (ec.KernelDied, ec.ConnectionLost, ec.ChannelClosed)):
        return
    with op.judged() as attempt:
        result = op.kernel.run(op.lines(2))
    if attempt.error is None:
        op.check_lines(stream_text(result.outputs), 2, f"run {when}")


def check_messages(op: Operation, messages: list[ec.AnyMessage], count: int) -> None:
    """Check all messages of a request that printed lines."""
    reply = messages[-1] if messages else None
    if reply is None or reply.msg_type != "execute_reply":
        op.report(f"the last message of a request is {reply}")
        return
    if reply.content.get("status") == "aborted":
        op.judge(ec.RequestAborted("the reply says so"), 0.0)
        return
    if reply.content.get("status") == "error":
        op.judge(ec.KernelError(reply.content.get("ename", ""), ""), 0.0)
        return
    parents = {message.parent_header.msg_id for message in messages}
    op.check(len(parents) == 1, f"the messages of a request have the parents {parents}")
    text = stream_text([message.content for message in messages if message.msg_type == "stream"])
    op.check_lines(text, count, "execute")


def check_comm(op: Operation, messages: list[ec.AnyMessage], count: int) -> None:
    """Check the numbered messages of a comm."""
    numbers = [message.content["data"].get("number") for message in messages]
    op.check(numbers == list(range(count)), f"a comm sent {numbers} instead of {count} numbers")
