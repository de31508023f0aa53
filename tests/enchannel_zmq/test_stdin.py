"""Requests for input, and their answers."""

import asyncio

import pytest
import reactivex as rx

import enchannel as ec
from enchannel.testing import Collector
from tests.enchannel_zmq.conftest import settle
from tests.rigs import DEADLINE

pytestmark = pytest.mark.kernel


def test_input_is_answered(kernel: ec.Kernel) -> None:
    questions = []

    def answer(request: ec.InputPrompt) -> str:
        questions.append((request.prompt, request.password))
        return "bob"

    result = kernel.run("print(input('name? ') * 2)", on_input=answer, timeout=DEADLINE)
    assert questions == [("name? ", False)]
    assert result.text == "bobbob\n"


def test_getpass_asks_for_password(kernel: ec.Kernel) -> None:
    result = kernel.run(
        "import getpass; print(getpass.getpass('pw? '))",
        on_input=lambda request: f"secret {request.password}",
        timeout=DEADLINE,
    )
    assert result.text == "secret True\n"


def test_eof_is_raised_in_code(kernel: ec.Kernel) -> None:
    def nothing_more(request: ec.InputPrompt) -> str:
        raise EOFError

    with pytest.raises(ec.KernelError, match="EOFError"):
        kernel.run("input()", on_input=nothing_more, timeout=DEADLINE)


def test_input_without_handler_raises_in_code(kernel: ec.Kernel) -> None:
    with pytest.raises(ec.KernelError, match="StdinNotImplementedError"):
        kernel.run("input()", timeout=DEADLINE)


def test_raising_input_handler_interrupts_kernel(kernel: ec.Kernel) -> None:
    with pytest.raises(ZeroDivisionError):
        kernel.run("input()", on_input=lambda request: str(1 / 0))
    settle(kernel)
    assert kernel.run("'goes on'", timeout=DEADLINE).status == "ok"


def test_dispose_during_input_interrupts_kernel(kernel: ec.Kernel) -> None:
    errors = Collector(kernel.iopub.pipe(ec.of_message_type("error")))
    input_requests = Collector(kernel.stdin)
    waiting = kernel.execute("input()", on_input=lambda request: rx.never())
    subscription = waiting.subscribe()
    input_requests.wait_until(lambda messages: messages)
    subscription.dispose()
    errors.wait_for(lambda message: message.content["ename"] == "KeyboardInterrupt")
    settle(kernel)


def test_observable_answers_input(kernel: ec.Kernel) -> None:
    request = kernel.execute("print(input())", on_input=lambda request: rx.of("rx"))
    assert ec.wait(request.pipe(ec.to_result()), timeout=DEADLINE).text == "rx\n"


def test_coroutine_answers_input(kernel: ec.Kernel) -> None:
    async def answer(request: ec.InputPrompt) -> str:
        await asyncio.sleep(0)
        return "later"

    async def main() -> str:
        request = kernel.execute("print(input())", on_input=answer)
        return (await ec.last_value(request.pipe(ec.to_result()), timeout=DEADLINE)).text

    assert asyncio.run(main()) == "later\n"


def test_input_reply_can_be_sent_manually(kernel: ec.Kernel) -> None:
    input_requests = Collector(kernel.stdin)
    seen = Collector(kernel.execute("print(input('? '))", allow_stdin=True).pipe(ec.to_result()))
    question = input_requests.wait_until(lambda messages: messages)[0]
    kernel.stdin.on_next(ec.input_reply("by hand", parent=question))
    assert seen.wait_for_end()[0].text == "by hand\n"
