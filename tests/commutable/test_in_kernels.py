"""Notebook runs in real kernels, with the same results as nbclient."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from reactivex import Observable
from reactivex import operators as ops

import commutable as cm
import enchannel as ec
from enchannel.testing import Collector
from tests.rigs import ASLEEP, DEADLINE
from tests.rigs.scripted import settle

pytestmark = pytest.mark.kernel

if sys.platform == "win32":
    # With any signal os.kill() ends a process at once.
    SIGKILL = signal.SIGTERM
else:
    SIGKILL = signal.SIGKILL


def notebook_of(*sources: str) -> cm.Notebook:
    notebook = cm.empty_notebook
    for number, source in enumerate(sources):
        notebook = cm.append_cell(notebook, cm.code_cell(source, id=f"c{number}"))
    return notebook


def done(notebook: cm.Notebook, kernel: ec.Kernel, **options: Any) -> cm.Notebook:
    return ec.wait(cm.execute(notebook, kernel, **options), timeout=DEADLINE)


def texts(notebook: cm.Notebook) -> list[str]:
    return [cell.outputs.text for cell in notebook.cells if isinstance(cell, cm.CodeCell)]


@pytest.fixture(scope="module")
def kernel() -> Iterator[ec.Kernel]:
    with ec.launch() as kernel:
        settle(kernel)  # starts its delivery thread
        yield kernel


@pytest.mark.parametrize(
    ("name", "sources", "results"),
    [
        ("ipykernel6", ["x = 6", "print(x)\nx * 7"], ["", "6\n42"]),
        ("xpython", ["x = 6", "print(x)\nx * 7"], ["", "6\n42"]),
        ("deno", ["const x = 6", "console.log(x)\nx * 7"], ["", "6\n42"]),
    ],
)
def test_notebook_runs_in_any_language(name: str, sources: list[str], results: list[str]) -> None:
    with ec.launch(name) as kernel:
        assert texts(done(notebook_of(*sources), kernel)) == results


def test_notebook_runs_in_a_coroutine(kernel: ec.Kernel) -> None:
    async def answer(request: ec.InputPrompt) -> str:
        await asyncio.sleep(0)
        return "Ada"

    async def main() -> None:
        notebook = notebook_of("name = input('who? ')", "print(name)")
        states = cm.execute(notebook, kernel, on_input=answer)
        async with asyncio.timeout(DEADLINE):
            last = await states.pipe(ops.last())
            seen = [state async for state in ec.aiter(states)]
        assert texts(last) == texts(seen[-1]) == ["", "Ada\n"]
        assert len(seen) > 4

    asyncio.run(main())


def test_flood_of_output_is_complete(kernel: ec.Kernel) -> None:
    notebook = notebook_of("for i in range(20_000): print(i, flush=i % 10 == 0)")
    states = Collector(cm.execute(notebook, kernel)).wait_for_end()
    assert texts(states[-1]) == ["".join(f"{i}\n" for i in range(20_000))]


def test_hanging_cell_is_interrupted_at_timeout(kernel: ec.Kernel) -> None:
    notebook = notebook_of(ASLEEP, "'never'")
    with pytest.raises(
        cm.CellFailed, match=r"cell 1 of 2 \(c0\): the code did not finish"
    ) as failed:
        done(notebook, kernel, timeout=1)
    assert isinstance(failed.value.reason, ec.RequestTimeout)
    assert texts(failed.value.notebook)[0].endswith("KeyboardInterrupt: ")
    assert texts(done(notebook_of("6 * 7"), kernel)) == ["42"]


def test_kernel_is_usable_after_disposal(kernel: ec.Kernel) -> None:
    notebook = notebook_of(ASLEEP, "'never'")

    def is_asleep(state: cm.Notebook) -> bool:
        return "asleep" in texts(state)[0]

    waits = cm.execute(notebook, kernel).pipe(ops.filter(is_asleep))
    ec.wait(waits.pipe(ops.take(1)), timeout=DEADLINE)
    assert texts(done(notebook_of("6 * 7"), kernel, timeout=DEADLINE)) == ["42"]


def test_external_interrupt_is_reported_as_error(kernel: ec.Kernel) -> None:
    notebook = notebook_of(ASLEEP, "'never'")

    def interrupts(state: cm.Notebook) -> None:
        if texts(state)[0] == "asleep\n":
            kernel.interrupt()

    with pytest.raises(cm.CellFailed) as failed:
        ec.wait(cm.execute(notebook, kernel).pipe(ops.do_action(interrupts)), timeout=DEADLINE)
    assert isinstance(failed.value.reason, ec.KernelError)
    assert failed.value.reason.ename == "KeyboardInterrupt"


def test_kernel_death_in_cell_keeps_outputs() -> None:
    code = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
    notebook = notebook_of("print('before')", code, "'never'")

    def kills(state: cm.Notebook) -> None:
        if pid := texts(state)[1]:
            with suppress(ProcessLookupError):  # already dead
                os.kill(int(pid), SIGKILL)

    with ec.launch() as kernel, pytest.raises(cm.CellFailed, match=r"cell 2 of 3 \(c1\)") as failed:
        ec.wait(cm.execute(notebook, kernel).pipe(ops.do_action(kills)), timeout=DEADLINE)
    assert isinstance(failed.value.reason, ec.KernelDied)
    first, second, third = texts(failed.value.notebook)
    assert (first, third) == ("before\n", "")
    assert second.strip().isdecimal()


def test_kernel_restart_in_cell_fails_run() -> None:
    notebook = notebook_of(ASLEEP, "'never'")
    with ec.launch() as kernel:
        seen: Collector[cm.Notebook] = Collector()
        restarted: list[Observable[None]] = []

        def restarts(state: cm.Notebook) -> None:
            if texts(state)[0] == "asleep\n" and not restarted:
                restarted.append(kernel.restart())

        cm.execute(notebook, kernel).pipe(ops.do_action(restarts)).subscribe(seen)
        failure = seen.wait_for_error()
        assert isinstance(failure, cm.CellFailed)
        assert isinstance(failure.reason, ec.KernelDied)
        ec.wait(restarted[0], timeout=DEADLINE)
        assert texts(done(notebook_of("6 * 7"), kernel, timeout=DEADLINE)) == ["42"]


# -- comparison with nbclient -----------------------------------------------------------------------

COMPARED = {
    "nothing": ["", "   ", "x = 1"],
    # Flushed, since the order of two streams is otherwise undefined.
    "streams": [
        "import sys\nprint('a')\nprint('b', flush=True)\nprint('c', file=sys.stderr, flush=True)"
    ],
    "results": ["6 * 7", "{'a': [1, None]}", "None", "print('x'); 'y'"],
    "displays": [
        "from IPython.display import *",
        "display(HTML('<b>x</b>'), Markdown('*x*'), JSON({'a': [1]}), Javascript('1'))",
    ],
    "images": [
        "import base64\n"
        "Image(base64.b64decode('R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=='))",
        "SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')",
    ],
    "raw bundles": [
        "bundle = {'text/plain': 'x', 'application/vnd.a+json': {'b': [1.5, None]}}",
        "display(bundle, raw=True, metadata={'a': 1})",
    ],
    "updates": [
        "first = display('one', display_id=True)",
        "second = display('two', display_id='mine'); print('between')",
        "first.update('three'); second.update('four')",
        "display('five', display_id='mine')",
    ],
    "clear at once": ["print('a'); clear_output(); print('b')"],
    "clear with the next": [
        "print('a', flush=True); clear_output(wait=True); print('b')",
        "print('a', flush=True); clear_output(wait=True)",
        "display('a', display_id='z'); clear_output(wait=True)\n"
        "display('b', display_id='z'); print('c')",
    ],
    "errors": ["raise ValueError('é')", "def f(): return 1 / 0\nf()", "x =", "raise SystemExit(3)"],
    "unicode": ["print('Grüße 𝄞 \\u2028 \\x7f')", "'\\ud800'"],
    "progress bars": [
        "for i in range(50): print(f'\\r{i:3}%', end='', flush=True)",
    ],
    "magics": ["%%capture c\nprint('x')", "c.stdout"],
    "comms": [
        "from comm import create_comm\n_ = create_comm(target_name='t', data={})\nprint('said')"
    ],
    "output widgets": [
        # The messages of ipywidgets.Output, without its package.
        "out = create_comm(target_name='jupyter.widget', data={'buffer_paths': [], 'state': {"
        "'_model_module': '@jupyter-widgets/output', '_model_name': 'OutputModel', "
        "'_model_module_version': '1.0.0', 'outputs': [], 'msg_id': ''}})\n"
        "updates = []\n"
        "out.on_msg(lambda message: updates.append(message['content']['data']['state']))\n"
        "request_id = lambda: get_ipython().kernel.get_parent()['header']['msg_id']\n"
        "capture = lambda id: out.send({'method': 'update', 'state': {'msg_id': id}})",
        "capture(request_id()); print('in', flush=True); display('x', display_id='w'); capture('')\n"
        "print('out')",
        "updates[-1]",
        "print('kept', flush=True); capture(request_id()); clear_output(); print('new', flush=True)\n"
        "clear_output(wait=True); print('newer', flush=True); capture('')",
        "print(updates[-1])",
        "other = create_comm(target_name='jupyter.widget', data={'state': {"
        "'_model_module': 'm', '_model_name': 'n', 'value': 1}})\n"
        "other.send({'method': 'update', 'state': {'value': 2}, 'buffer_paths': [['data']]}, "
        "buffers=[b'abc'])",
    ],
    "long streams": ["print('x' * 100_000)", "for i in range(3000): print(i)"],
}
CELLS = [source for sources in COMPARED.values() for source in sources]


@pytest.fixture(scope="module")
def ran() -> tuple[Any, Any]:
    """Run one notebook with all sources, and return it as run by us and by nbclient."""
    notebook = notebook_of(*CELLS)
    with ec.launch() as kernel:
        ours = cm.to_dict(done(notebook, kernel, allow_errors=True))
    nbformat.validate(ours)
    node: Any = nbformat.from_dict(cm.to_dict(notebook))  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = NotebookClient(
            node, kernel_name="python3", allow_errors=True, coalesce_streams=True, timeout=DEADLINE
        ).execute()
    return ours, theirs


@pytest.mark.parametrize("kind", COMPARED)
def test_outputs_equal_those_of_nbclient(kind: str, ran: tuple[Any, Any]) -> None:
    start = next(
        i for i in range(len(CELLS)) if CELLS[i : i + len(COMPARED[kind])] == COMPARED[kind]
    )
    for number in range(start, start + len(COMPARED[kind])):
        ours, theirs = (without_times(notebook["cells"][number]) for notebook in ran)
        assert ours == theirs


def test_widget_state_equals_that_of_nbclient(ran: tuple[Any, Any]) -> None:
    ours, theirs = (notebook["metadata"]["widgets"] for notebook in ran)
    (ours,), (theirs,) = ours.values(), theirs.values()
    models = [list(widgets.pop("state").values()) for widgets in (ours, theirs)]
    assert ours == theirs
    assert models[0] == models[1]
    assert [model["model_name"] for model in models[0]] == ["OutputModel", "n"]
    assert models[0][1]["buffers"][0]["data"] == "YWJj"


def without_times(cell: Any) -> Any:
    """Return the cell with the names of its execution times only.

    JupyterLab records the start of the kernel's execution; nbclient does not.
    """
    times = sorted(cell["metadata"].get("execution", {}))
    execution = [name for name in times if name != "shell.execute_reply.started"]
    return {**cell, "metadata": {**cell["metadata"], "execution": execution}}
