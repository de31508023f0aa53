"""Behaviour of every kernel, in any language."""

import nbformat
import pytest

import enchannel as ec
from enchannel.testing import Collector
from tests.enchannel_zmq.conftest import KERNELS
from tests.rigs import DEADLINE

pytestmark = pytest.mark.kernel


def code_for(kernel: ec.Kernel) -> str:
    name = ec.wait(kernel.kernel_info(timeout=DEADLINE)).content["language_info"]["name"]
    return KERNELS["python3" if name == "python" else "deno"]


def test_kernel_runs_code(any_kernel: ec.Kernel) -> None:
    request = ec.execute_request(code_for(any_kernel))
    # On iopub, not in a Result, since deno occasionally sends its result after its idle status.
    seen = Collector(any_kernel.iopub.pipe(ec.child_of(request), ec.accumulate_outputs()))
    any_kernel.shell.on_next(request)
    seen.wait_for(lambda outputs: outputs.text.split() == ["woo", "42"])


def test_result_has_late_output(any_kernel: ec.Kernel) -> None:
    # Without waiting for it, deno's result is missing in one of seven.
    texts = [any_kernel.run("6 * 7").text for _ in range(30)]
    assert texts == ["42"] * 30


def test_result_has_status(any_kernel: ec.Kernel) -> None:
    assert any_kernel.run(code_for(any_kernel), timeout=DEADLINE).status == "ok"


def test_outputs_are_valid_nbformat(any_kernel: ec.Kernel) -> None:
    result = any_kernel.run(code_for(any_kernel), timeout=DEADLINE)
    for output in result.outputs:
        nbformat.validate(output, ref="output", version=4)


def test_reply_is_last_message_of_request(any_kernel: ec.Kernel) -> None:
    seen = Collector(any_kernel.execute(code_for(any_kernel)))
    messages = seen.wait_for_end()
    assert seen.error is None
    assert messages[-1].header.msg_type == "execute_reply"
    assert {m.content["execution_state"] for m in messages if m.header.msg_type == "status"} == {
        "busy",
        "idle",
    }


def test_error_in_code_raises_kernel_error(any_kernel: ec.Kernel) -> None:
    with pytest.raises(ec.KernelError) as raised:
        any_kernel.run("undefined_name + 1", timeout=DEADLINE)
    assert "undefined_name" in str(raised.value)
    assert raised.value.result is not None
    assert raised.value.result.status == "error"


def test_kernel_info_names_language(any_kernel: ec.Kernel) -> None:
    content = ec.wait(any_kernel.kernel_info(timeout=DEADLINE)).content
    assert content["language_info"]["name"] in ("python", "typescript")


def test_completions_are_returned(any_kernel: ec.Kernel) -> None:
    any_kernel.run("abcdef = 1" if "print" in code_for(any_kernel) else "var abcdef = 1")
    assert "abcdef" in " ".join(
        ec.wait(any_kernel.complete("abcde", timeout=DEADLINE)).content.get("matches", ())
    )


def test_is_complete_is_answered(any_kernel: ec.Kernel) -> None:
    assert (
        ec.wait(any_kernel.is_complete("1 + 1", timeout=DEADLINE)).content["status"] == "complete"
    )


def test_history_is_answered(any_kernel: ec.Kernel) -> None:
    assert "history" in ec.wait(any_kernel.history("tail", n=5, timeout=DEADLINE)).content


def test_kernel_answers_heartbeat(any_kernel: ec.Kernel) -> None:
    seen = Collector(any_kernel.heartbeat)
    any_kernel.heartbeat.on_next(b"a beat")
    seen.wait_for(lambda beat: beat == b"a beat")


def test_concurrent_requests_are_answered(any_kernel: ec.Kernel) -> None:
    template = "print({})" if "print" in code_for(any_kernel) else "console.log({})"
    # Not by request, since deno sends some output with the parent of another request.
    seen = Collector(any_kernel.iopub.pipe(ec.accumulate_outputs()))
    requests = [Collector(any_kernel.execute(template.format(number))) for number in range(20)]
    for request in requests:
        assert request.wait_for_end()[-1].content["status"] == "ok"
    expected = [str(number) for number in range(20)]
    seen.wait_for(lambda outputs: sorted(outputs.text.split(), key=int) == expected)
