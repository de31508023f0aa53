"""Running code in ipykernel: outputs, replies, and their order."""

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from reactivex import never
from reactivex import operators as ops

import enchannel as ec
from enchannel.testing import Collector
from tests.enchannel_zmq.conftest import settle
from tests.rigs import DEADLINE
from tests.rigs.idle import LATE_IDLE, LOST_IDLE
from tests.rigs.threads import run_on_loop

pytestmark = pytest.mark.kernel


def test_200_concurrent_runs_get_own_output(kernel: ec.Kernel) -> None:
    def run(number: int) -> str:
        return kernel.run(f"print({number}); print({number})", timeout=DEADLINE).text

    with ThreadPoolExecutor(50) as pool:
        texts = list(pool.map(run, range(200)))
    assert texts == [f"{number}\n{number}\n" for number in range(200)]


def test_late_idle_is_awaited(kernel: ec.Kernel) -> None:
    """The kernel is asked after ``idle_grace``, and the answer shows that output is still to come."""
    result = kernel.run(LATE_IDLE, idle_grace=0.1, timeout=DEADLINE)
    assert (result.text, result.output_missing) == ("in time\nlate\n", False)


def test_lost_idle_is_output_missing(kernel: ec.Kernel) -> None:
    result = kernel.run(LOST_IDLE, idle_grace=0.1, timeout=DEADLINE, check=False)
    assert (result.text, result.status, result.output_missing) == ("in time\n", "ok", True)
    with pytest.raises(ec.OutputMissing) as raised:
        kernel.run(LOST_IDLE, idle_grace=0.1, timeout=DEADLINE)
    assert raised.value.result is not None
    assert raised.value.result.text == "in time\n"
    assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"


def test_outputs_are_reduced(kernel: ec.Kernel) -> None:
    result = kernel.run(
        "from IPython.display import clear_output, display\n"
        "print('gone'); clear_output(wait=True)\n"
        "print('a'); print('b')\n"
        "handle = display('old', display_id=True); handle.update('new')"
    )
    stream, shown = result.outputs
    assert stream == {"output_type": "stream", "name": "stdout", "text": "a\nb\n"}
    assert shown["output_type"] == "display_data"
    assert shown["data"]["text/plain"] == "'new'"


def test_output_after_reply_arrives(kernel: ec.Kernel) -> None:
    seen = Collector(kernel.iopub.pipe(ec.of_message_type("stream")))
    kernel.run(
        "import threading\n"
        "go = threading.Event()\n"
        "def late():\n    go.wait(); print('late')\n"
        "threading.Thread(target=late).start()"
    )
    kernel.run("go.set()")
    seen.wait_for(lambda message: "late" in message.content["text"])


def growing_timeouts() -> Iterator[float]:
    """Yield timeouts, one of which suffices for code to begin, on a busy machine as well."""
    timeout = 0.5
    while timeout < DEADLINE:
        yield timeout
        timeout *= 2


def test_timeout_has_partial_result_and_interrupts(kernel: ec.Kernel) -> None:
    endless = "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)"
    error = None
    for timeout in growing_timeouts():
        with pytest.raises(ec.RequestTimeout) as raised:
            kernel.run(endless, timeout=timeout)
        error = raised.value
        assert error.result is not None
        if "begun" in error.result.text:
            break
    assert "1 output received" in str(error)
    assert kernel.run("'and goes on'", timeout=DEADLINE).status == "ok"


def test_interrupt_ends_running_code(kernel: ec.Kernel) -> None:
    seen = Collector(
        kernel.execute("print('begun', flush=True)\nwhile True: pass").pipe(ec.outputs())
    )
    seen.wait_until(lambda outputs: outputs)
    ec.wait(kernel.interrupt(), timeout=DEADLINE)
    outputs = seen.wait_for_end()
    assert outputs[-1]["output_type"] == "error"
    assert outputs[-1]["ename"] == "KeyboardInterrupt"


def test_dispose_interrupts_if_requested(kernel: ec.Kernel) -> None:
    endless = kernel.execute(
        "print('begun', flush=True)\nwhile True: pass", interrupt_if_abandoned=True
    )
    errors = Collector(kernel.iopub.pipe(ec.of_message_type("error")))
    seen = Collector(endless)
    seen.wait_until(lambda messages: any(m.header.msg_type == "stream" for m in messages))
    seen.subscription.dispose()
    errors.wait_for(lambda message: message.content["ename"] == "KeyboardInterrupt")
    settle(kernel)


def test_timeout_interrupts_if_requested(kernel: ec.Kernel) -> None:
    errors = Collector(kernel.iopub.pipe(ec.of_message_type("error")))
    seen = Collector(kernel.execute("while True: pass", timeout=1, interrupt_if_abandoned=True))
    assert isinstance(seen.wait_for_error(), ec.RequestTimeout)
    errors.wait_for(lambda message: message.content["ename"] == "KeyboardInterrupt")
    settle(kernel)


def test_cancelled_arun_leaves_kernel_idle(kernel: ec.Kernel) -> None:
    async def main() -> tuple[str, str]:
        error, text = None, ""
        for timeout in growing_timeouts():
            with pytest.raises(ec.RequestTimeout) as late:
                await kernel.arun("print('begun', flush=True)\nwhile True: pass", timeout=timeout)
            await asyncio.to_thread(settle, kernel)
            error = late.value
            assert error.result is not None
            if text := error.result.text:
                break
        assert "1 output received" in str(error)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await kernel.arun("while True: pass")
        await asyncio.to_thread(settle, kernel)
        result = await kernel.arun("6 * 7", user_expressions={"x": "1"}, timeout=DEADLINE)
        return text, result.text

    assert run_on_loop(main) == ("begun\n", "42")


def test_abandoned_request_ends_before_it_runs(kernel: ec.Kernel) -> None:
    for _ in range(5):
        kernel.execute("while True: pass", interrupt_if_abandoned=True).subscribe().dispose()
        assert kernel.run("'free'", timeout=DEADLINE).text == "'free'"


def test_queued_abandoned_request_ends_when_it_runs(kernel: ec.Kernel) -> None:
    kernel.execute("import time; time.sleep(0.2)").subscribe()
    kernel.execute("while True: pass", interrupt_if_abandoned=True).subscribe().dispose()
    assert kernel.run("'free'", timeout=DEADLINE).text == "'free'"


def test_request_after_interrupt_is_not_aborted(kernel: ec.Kernel) -> None:
    for _ in range(5):
        started = Collector(kernel.iopub.pipe(ec.of_message_type("execute_input")))
        kernel.execute("while True: pass").subscribe(on_error=lambda _: None)
        started.wait_for_count(1)
        kernel.interrupt()
        assert kernel.run("'next'", timeout=DEADLINE).text == "'next'"


def test_timeout_ends_asyncio_sleep(kernel: ec.Kernel) -> None:
    """The signal alone does not wake the event loop that the code awaits."""
    with pytest.raises(ec.RequestTimeout, match="was interrupted"):
        kernel.run(f"import asyncio; await asyncio.sleep({10 * DEADLINE})", timeout=1)
    assert kernel.run("'woken'", timeout=DEADLINE).text == "'woken'"


def test_request_after_error_is_aborted(kernel: ec.Kernel) -> None:
    slow = Collector(
        kernel.execute("import time; time.sleep(0.5); 1 / 0").pipe(ec.to_result(check=False))
    )
    queued = Collector(kernel.execute("'never'").pipe(ec.to_result()))
    slow.wait_for_end()
    queued.wait_for_end()
    assert isinstance(queued.error, ec.RequestAborted)


def test_check_fails_request_whose_code_raised(kernel: ec.Kernel) -> None:
    raising = kernel.execute("print('begun'); 1 / 0")
    # Without the operator the failure is in the reply only.
    assert ec.wait(raising, timeout=DEADLINE).content["status"] == "error"
    settle(kernel)  # until the kernel no longer aborts requests because of the error
    seen = Collector(raising.pipe(ec.check()))
    queued = Collector(kernel.execute("'never'").pipe(ec.check()))
    messages = seen.wait_for_end()
    assert {"stream", "error", "execute_reply"} <= {message.header.msg_type for message in messages}
    assert isinstance(seen.error, ec.KernelError)
    assert (seen.error.ename, seen.error.evalue) == ("ZeroDivisionError", "division by zero")
    queued.wait_for_end()
    assert isinstance(queued.error, ec.RequestAborted)
    settle(kernel)


def test_limited_aiter_keeps_newest_messages(kernel: ec.Kernel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    code = f"open({str(gate)!r}).close()\nfor number in range(100): print(number, flush=True)"

    async def main() -> list[str]:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def on_completed() -> None:
            loop.call_soon_threadsafe(ended.set)

        cell = kernel.execute(code).pipe(ops.do_action(on_completed=on_completed))
        async with aclosing(ec.aiter(cell, limit=3, overflow="latest")) as messages:
            # The kernel prints only after the first step, which takes one of the messages before.
            await anext(messages)
            gate.write_text("")
            await ended.wait()
            return [message.header.msg_type async for message in messages]

    assert run_on_loop(main) == ["stream", "status", "execute_reply"]


def test_invalid_unicode_is_replaced_and_reported(kernel: ec.Kernel) -> None:
    errors = Collector(kernel.errors)
    with pytest.raises(ec.KernelError) as raised:
        kernel.run(r"raise ValueError('x\udce9')")
    assert "x\N{REPLACEMENT CHARACTER}" in raised.value.evalue
    errors.wait_for(lambda error: isinstance(error, ec.MalformedFrame))


def test_reactivex_operators_compose(kernel: ec.Kernel) -> None:
    one = kernel.execute("print(1)").pipe(ec.to_result())
    two = kernel.execute("print(2)").pipe(ec.to_result())
    results = ec.wait(one.pipe(ops.concat(two), ops.to_list()), timeout=DEADLINE)
    assert [result.text for result in results] == ["1\n", "2\n"]


def test_slow_subscriber_delays_no_request(kernel: ec.Kernel) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(message: ec.AnyMessage) -> None:
        entered.set()
        leave.wait(DEADLINE)

    subscription = kernel.iopub.subscribe(slow)
    try:
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
        assert entered.wait(DEADLINE)
        assert kernel.run("6 * 7", timeout=DEADLINE).text == "42"
    finally:
        subscription.dispose()
        leave.set()


def test_debug_request_is_answered(kernel: ec.Kernel) -> None:
    assert ec.wait(kernel.debug("debugInfo", timeout=DEADLINE)).content.get("success")


def test_comm_info_is_answered(kernel: ec.Kernel) -> None:
    info = kernel.comm_info("a target of no other test", timeout=DEADLINE)
    assert ec.wait(info).content.get("comms") == {}


def test_inspect_request_is_answered(kernel: ec.Kernel) -> None:
    assert ec.wait(kernel.inspect("print", timeout=DEADLINE)).content.get("found")


def test_timeout_in_subshell_spares_main_shell(kernel: ec.Kernel) -> None:
    # Creating a subshell takes the main shell.
    with kernel.subshell() as beside, kernel.subshell() as third:
        main = Collector(
            kernel.execute("gate = __import__('threading').Event(); gate.wait(30)").pipe(
                ec.to_result()
            )
        )
        kernel.state.pipe(ops.first(lambda state: state == "busy")).run()
        beside.run("stop = __import__('threading').Event()", timeout=DEADLINE)
        with pytest.raises(ec.RequestTimeout, match="goes on, because an interrupt"):
            beside.run(f"stop.wait({DEADLINE})", timeout=0.2)
        kernel.errors.subscribe(lambda _: None)
        beside.execute("input()", on_input=lambda _: never()).subscribe().dispose()
        third.run("stop.set()", timeout=DEADLINE)
        assert beside.run("6 * 7", timeout=DEADLINE).text == "42"
        third.run("gate.set()", timeout=DEADLINE)
        (result,) = main.wait_for_end()
        assert result.status == "ok"


def test_subshell_answers_while_shell_is_busy(kernel: ec.Kernel) -> None:
    with kernel.subshell() as beside:
        busy = Collector(kernel.execute("gate = __import__('threading').Event(); gate.wait(30)"))
        busy.wait_until(lambda messages: messages)
        assert beside.run("6 * 7", timeout=DEADLINE).text == "42"
        beside.run("gate.set()", timeout=DEADLINE)
        busy.wait_for_end()
    listed = ec.wait(kernel.request(ec.list_subshell_request()))
    assert listed.content["subshell_id"] == []


def test_comm_exchanges_buffers(kernel: ec.Kernel) -> None:
    kernel.run(
        "from comm import get_comm_manager\n"
        "def opened(comm, message):\n"
        "    def answer(message):\n"
        "        comm.send({'echo': message['content']['data']}, buffers=message['buffers'])\n"
        "    comm.on_msg(answer)\n"
        "    comm.send({'opened with': message['content']['data']})\n"
        "get_comm_manager().register_target('echo', opened)"
    )
    comm = kernel.comm("echo", {"a": 1})
    seen = Collector(comm)
    seen.wait_for(lambda m: m.content["data"] == {"opened with": {"a": 1}})
    comm.send({"b": 2}, buffers=[b"", b"two"])
    echo = seen.wait_for(lambda m: m.content["data"] == {"echo": {"b": 2}})
    assert [bytes(buffer) for buffer in echo.buffers] == [b"", b"two"]
    comm.close()
    seen.wait_for_end()


def test_comm_opened_by_kernel_is_emitted(kernel: ec.Kernel) -> None:
    opened = Collector(kernel.comms("widget"))
    kernel.run(
        "from comm import create_comm\n"
        "mine = create_comm(target_name='widget', data={'a': 1}, metadata={'version': '2.1.0'})\n"
        "mine.send({'b': 2}, buffers=[b'two'])\n"
        "received = []; mine.on_msg(lambda m: received.append(m['content']['data']))\n"
    )
    (comm,) = opened.wait_for_count(1)
    seen = Collector(comm)
    start, message = seen.wait_for_count(2)
    assert (start.content["data"], start.metadata["version"]) == ({"a": 1}, "2.1.0")
    assert [bytes(buffer) for buffer in message.buffers] == [b"two"]
    comm.send({"c": 3})
    assert kernel.run("received", timeout=DEADLINE).text == "[{'c': 3}]"


def test_comm_open_has_metadata_and_buffers(kernel: ec.Kernel) -> None:
    kernel.run(
        "from comm import get_comm_manager\n"
        "def opened(comm, message):\n"
        "    comm.send({'version': message['metadata']['version']}, buffers=message['buffers'])\n"
        "get_comm_manager().register_target('widget', opened)"
    )
    seen = Collector(kernel.comm("widget", metadata={"version": "2.1.0"}, buffers=[b"abc"]))
    (message,) = seen.wait_for_count(1)
    assert message.content["data"] == {"version": "2.1.0"}
    assert [bytes(buffer) for buffer in message.buffers] == [b"abc"]


def test_comm_with_unknown_target_is_closed(kernel: ec.Kernel) -> None:
    seen = Collector(kernel.comm("nobody"))
    assert seen.wait_for_end()[-1].header.msg_type == "comm_close"


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (-1, ValueError),
        (0, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("5", TypeError),
    ],
)
def test_invalid_timeout_sends_nothing(
    kernel: ec.Kernel, timeout: Any, error: type[Exception]
) -> None:
    kernel.run("y = 1")
    with pytest.raises(error, match="timeout must be"):
        kernel.run("y = 2", timeout=timeout)
    assert kernel.run("y", timeout=DEADLINE).text == "1"
