"""User code as a test for the type checkers; it is never run."""
# pyright: strict

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal, assert_type

import reactivex
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

import enchannel as ec
import enchannel.backends
from enchannel import AnyMessage, Message, contents
from enchannel import messages as build
from enchannel.abc import (
    CONTRACT_VERSION,
    Backend,
    Capabilities,
    ChannelPair,
    KernelState,
    Launcher,
    Lifecycle,
    Link,
    LinkEvent,
    LinkState,
    OpenContext,
)
from enchannel.errors import EnchannelError, Remedy


def connecting() -> None:
    assert_type(ec.__version__, str)
    assert_type(ec.launch(), ec.Kernel)
    assert_type(
        ec.launch("deno", at="https://host", cwd=Path("."), extra_env={"A": "b"}), ec.Kernel
    )
    assert_type(ec.launch("python3", cwd="below", extra_env=None, timeout=3), ec.Kernel)
    ec.launch(cwd=1)  # type: ignore[arg-type]
    ec.launch(extra_env={"A": 1})  # type: ignore[dict-item]
    ec.launch(timeout="3")  # type: ignore[arg-type]
    ec.connect(3)  # type: ignore[arg-type]
    ec.connect("1234", at=3)  # type: ignore[arg-type]
    assert_type(ec.connect("kernel-1234.json", timeout=3, session=ec.Session()), ec.Kernel)
    assert_type(ec.connect(Path("kernel-1234.json")), ec.Kernel)
    assert_type(ec.connect({"ip": "127.0.0.1"}), ec.Kernel)
    assert_type(ec.connect(ec.ConnectionInfo(), colour="red"), ec.Kernel)
    with ec.launch() as kernel:
        assert_type(kernel, ec.Kernel)
    with ec.launch() as kernel, kernel.subshell() as subshell:
        assert_type(subshell, ec.Subshell)
        assert_type(subshell.run("6 * 7"), ec.Result)


async def connecting_on_a_loop() -> None:
    assert_type(await ec.launch(), ec.Kernel)
    async with ec.launch() as kernel:
        assert_type(kernel, ec.Kernel)
        async with kernel.subshell() as subshell:
            assert_type(subshell, ec.Subshell)


def channels(kernel: ec.Kernel) -> None:
    channel: ec.Channel
    for channel in (kernel.shell, kernel.control, kernel.stdin, kernel.iopub, kernel.main):
        as_subject: Subject[AnyMessage] = channel
        as_observable: Observable[AnyMessage] = channel
        as_observer: abc.ObserverBase[AnyMessage] = channel
        assert_type(channel.name, ec.ChannelName | str)
        assert_type(channel.kernel, ec.Kernel)
        channel.close()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        as_observable.subscribe(as_observer)
        as_subject.subscribe(print)
    heartbeat: Subject[bytes] = kernel.heartbeat
    heartbeat.on_next(b"ping")
    assert_type(kernel.heartbeat.is_beating, bool | None)
    assert_type(kernel.id, str)
    assert_type(kernel.owned, bool)
    assert_type(kernel.session.id, str)


def states(kernel: ec.Kernel) -> None:
    link: ec.State[LinkState] = kernel.link_state
    state: ec.State[KernelState] = kernel.state
    as_observable: Observable[KernelState] = state
    as_observable.subscribe(print)
    assert_type(kernel.link_state.value, LinkState)
    assert_type(kernel.state.value, KernelState)
    link.subscribe(lambda value: print(value.upper()))
    state.subscribe(lambda value: print(value is KernelState.IDLE))
    kernel.state.value = KernelState.DEAD  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    kernel.state.on_next(KernelState.DEAD)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    assert_type(kernel.errors, ec.Errors)
    assert_type(kernel.sent, ec.Sent)
    errors: Observable[EnchannelError] = kernel.errors
    errors.subscribe(lambda error: print(error.args))


def recordings(kernel: ec.Kernel) -> None:
    sent: Observable[AnyMessage] = kernel.sent
    sent.pipe(ec.of_message_type("execute_request")).subscribe(lambda m: print(m.content["code"]))
    with ec.record(kernel, "session.enchannel", keep_input=True, overwrite=True) as recorder:
        assert_type(recorder, ec.Recorder)
        assert_type(recorder.messages, int)
        assert_type(recorder.error, ec.RecordingFailed | None)
        assert_type(recorder.path, Path)
        assert_type(recorder.close(), None)
    disposable: abc.DisposableBase = ec.record(kernel, Path("session.enchannel"))
    disposable.dispose()
    recording = ec.Recording(recorder.path)
    assert_type(recording.verify(), bool)
    assert_type((recording.kernel_id, recording.session, recording.started), tuple[str, str, str])
    for recorded in recording:
        assert_type(recorded, ec.RecordedMessage | ec.RecordedEvent)
        assert_type(recorded.time, float)
        direction: ec.Direction = recorded.direction
        print(direction.upper())
        if isinstance(recorded, ec.RecordedMessage):
            assert_type(recorded.direction, ec.Direction)
            assert_type(recorded.message, AnyMessage)
        else:
            assert_type(recorded.direction, Literal[ec.Direction.RECEIVED])
            assert_type(recorded.event, LinkEvent)
        if recorded.direction is ec.Direction.SENT:
            # Events are received, so only a message remains.
            assert_type(recorded, ec.RecordedMessage)
            print(recorded.message.header.msg_type)
        match recorded:
            case ec.RecordedMessage(time, _, message):
                assert_type((time, message), tuple[float, AnyMessage])
            case ec.RecordedEvent(time, event):
                assert_type((time, event), tuple[float, LinkEvent])
        print(recorded.message)  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue]
    start = Subject[None]()
    replay = ec.replay("session.enchannel", speed=10.0, start=start, scheduler=TestScheduler())
    assert_type(replay, ec.Kernel)
    assert_type(ec.replay(recorder.path, speed=2, start=reactivex.timer(1.0)), ec.Kernel)
    ec.replay(recorder.path, sped=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(ec.connect("replay:session.enchannel", speed=10.0), ec.Kernel)


async def recordings_on_a_loop() -> None:
    async with ec.launch() as kernel, ec.record(kernel, "session.enchannel") as recorder:
        assert_type(recorder, ec.Recorder)
    assert_type(await recorder.aclose(), None)
    async with ec.replay(recorder.path) as replay:
        assert_type(replay, ec.Kernel)
    assert_type(await ec.replay(recorder.path), ec.Kernel)


def messages(kernel: ec.Kernel) -> None:
    def on_next(message: AnyMessage) -> None:
        assert_type(message.channel, ec.ChannelName)
        assert_type(message.header, ec.Header)
        assert_type(message.parent_header.msg_id, str)
        assert_type(message.header.subshell_id, str | None)
        assert_type(message.metadata, Mapping[str, Any])
        message.metadata["x"] = 1  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
        assert_type(message.msg_type, str)
        assert_type(message.msg_id, str)
        assert_type(message.to_dict(), dict[str, Any])
        assert_type(Message.from_dict(message.to_dict()), Message[Mapping[str, Any]])
        assert_type(ec.Header.from_dict({"msg_id": "1"}), ec.Header)
        assert_type(message.buffers, tuple[memoryview, ...])
        assert_type(message.replace(metadata={}), AnyMessage)

    kernel.iopub.subscribe(on_next)


def messages_of_a_type(kernel: ec.Kernel) -> None:
    streams = kernel.iopub.pipe(ec.of_message_type("stream"))
    assert_type(streams, Observable[Message[contents.Stream]])
    streams.subscribe(lambda m: print(m.content["text"].upper()))

    def text(message: Message[contents.Stream]) -> str:
        assert_type(message.content["text"], str)
        assert_type(message.content["name"], Literal["stdout", "stderr"])
        return message.content["text"]

    assert_type(streams.pipe(ops.map(text)), Observable[str])
    assert_type(kernel.iopub.pipe(ec.of_message_type("stream"), ops.map(text)), Observable[str])
    results = kernel.execute("6 * 7").pipe(ec.of_message_type("execute_result"))
    assert_type(results, Observable[Message[contents.ExecuteResult]])
    assert_type(kernel.main.pipe(ec.of_message_type("a", "b")), Observable[Message[Any]])


def operators(kernel: ec.Kernel) -> None:
    cell = kernel.execute("6 * 7")
    assert_type(cell, Observable[AnyMessage])
    assert_type(cell.pipe(ec.to_result()), Observable[ec.Result])
    assert_type(cell.pipe(ec.outputs()), Observable[ec.Output])
    assert_type(cell.pipe(ec.updated_outputs()), Observable[ec.DisplayOutput])
    assert_type(cell.pipe(ec.accumulate_outputs()), Observable[ec.Outputs])
    assert_type(cell.pipe(ec.execution_counts()), Observable[int])
    assert_type(cell.pipe(ec.kernel_statuses()), Observable[str])
    assert_type(cell.pipe(ec.payloads()), Observable[contents.Payload])
    assert_type(cell.pipe(ec.input_requests()), Observable[contents.InputRequest])
    assert_type(cell.pipe(ec.check()), Observable[AnyMessage])
    assert_type(cell.pipe(ec.check(), ec.outputs()), Observable[ec.Output])
    replies = cell.pipe(ec.of_message_type("execute_reply"), ec.check())
    assert_type(replies, Observable[Message[contents.ExecuteReply]])
    cell.pipe(ec.outputs(), ec.check())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    request = ec.execute_request("6 * 7")
    assert_type(kernel.iopub.pipe(ec.child_of(request)), Observable[AnyMessage])
    assert_type(kernel.iopub.pipe(ec.child_of(request.header)), Observable[AnyMessage])
    assert_type(kernel.iopub.pipe(ec.child_of("m1")), Observable[AnyMessage])
    assert_type(kernel.iopub.pipe(ec.with_comm_id("c1")), Observable[AnyMessage])
    assert_type(
        kernel.iopub.pipe(ec.child_of(request), ec.of_message_type("error")),
        Observable[Message[contents.Error]],
    )
    assert_type(
        kernel.iopub.pipe(ec.child_of(request), ec.until_idle(request), ec.outputs()),
        Observable[ec.Output],
    )
    assert_type(cell.pipe(ops.retry(3), ec.to_result()), Observable[ec.Result])
    assert_type(ec.is_child_message(request, build.status("idle", parent=request)), bool)


def delivering(kernel: ec.Kernel, scheduler: abc.SchedulerBase) -> None:
    assert_type(kernel.iopub.pipe(ec.deliver_on(scheduler)), Observable[AnyMessage])
    assert_type(
        kernel.iopub.pipe(ec.of_message_type("stream"), ec.deliver_on(scheduler, interval=1 / 60)),
        Observable[Message[contents.Stream]],
    )
    assert_type(
        kernel.execute("6 * 7").pipe(
            ec.deliver_on(scheduler, limit=9, overflow="latest"), ec.to_result()
        ),
        Observable[ec.Result],
    )
    limited = ec.deliver_on(scheduler, interval=1 / 60, limit=1000, overflow="error")
    assert_type(limited.backlog, int)
    # One operator delivers observables of different types.
    assert_type(kernel.heartbeat.pipe(limited), Observable[bytes])
    assert_type(kernel.iopub.pipe(limited, ec.outputs()), Observable[ec.Output])
    joined = ec.deliver_on(scheduler, overflow="coalesce")
    assert_type(kernel.iopub.pipe(joined, ec.until_idle()), Observable[AnyMessage])
    ec.deliver_on(scheduler, 1 / 60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ec.deliver_on(scheduler, limit="9", overflow="latest")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ec.deliver_on(scheduler, overflow="woo")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def running(kernel: ec.Kernel) -> None:
    result = kernel.run("6 * 7", timeout=3, check=False, max_output=100)
    assert_type(result, ec.Result)
    assert_type(result.status, Literal["ok", "error", "aborted", "incomplete"])
    assert_type(result.text, str)
    assert_type(result.outputs, ec.Outputs)
    assert_type(result.error, ec.KernelError | None)
    assert_type(result.execution_count, int | None)
    assert_type(result.check(), ec.Result)
    for output in result.outputs:
        assert_type(output, ec.Output)
        output_kinds(output)


def output_kinds(output: ec.Output) -> None:
    if output["output_type"] == "stream":
        assert_type(output, ec.StreamOutput)
        assert_type(output["text"], str)
    elif output["output_type"] == "display_data":
        assert_type(output, ec.DisplayOutput)
        assert_type(output["data"], dict[str, Any])
    elif output["output_type"] == "execute_result":
        assert_type(output["execution_count"], int | None)
    else:
        assert_type(output, ec.ErrorOutput)
        assert_type(output["traceback"], list[str])


def waiting(kernel: ec.Kernel) -> None:
    assert_type(ec.wait(kernel.kernel_info(), timeout=3), Message[contents.KernelInfoReply])
    assert_type(ec.wait(kernel.execute("6 * 7").pipe(ec.to_result())), ec.Result)
    assert_type(ec.wait(kernel.execute("6 * 7").pipe(ec.execution_counts())), int)
    assert_type(ec.wait(reactivex.just(3)), int)


async def waiting_on_a_loop(kernel: ec.Kernel) -> None:
    assert_type(await kernel.kernel_info(), Message[contents.KernelInfoReply])
    assert_type(await kernel.execute("6 * 7").pipe(ec.to_result()), ec.Result)
    assert_type(
        await ec.last_value(kernel.execute("6 * 7").pipe(ec.to_result()), timeout=3), ec.Result
    )
    items = ec.aiter(kernel.execute("6 * 7"), limit=10, overflow="latest")
    assert_type(items, AsyncGenerator[AnyMessage, None])
    async with aclosing(items):
        assert_type(await anext(items), AnyMessage)
    await ec.aiter(reactivex.of(1, 2), limit=10, overflow="error").aclose()
    ec.aiter(kernel.iopub, overflow="coalesce")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async for message in ec.aiter(kernel.execute("6 * 7")):
        assert_type(message, AnyMessage)
    streams = kernel.iopub.pipe(ec.of_message_type("stream"))
    async for stream in ec.aiter(streams):
        assert_type(stream.content["text"], str)


def requesting(kernel: ec.Kernel) -> None:
    request = kernel.request(
        ec.kernel_info_request(), timeout=None, idle_grace=3, interrupt_if_abandoned=True
    )
    assert_type(request, Observable[AnyMessage])
    requests: list[Observable[AnyMessage]] = [
        kernel.kernel_info(),
        kernel.complete("pri", 2),
        kernel.inspect("print", detail_level=1),
        kernel.history("range", session=1, start=2, stop=3),
        kernel.is_complete("if x:"),
        kernel.comm_info(),
        kernel.debug("initialize", {"clientID": "x"}),
        kernel.execute(
            "6 * 7", user_expressions={"x": "1"}, timeout=3, interrupt_if_abandoned=True
        ),
    ]
    all_at_once: Observable[AnyMessage] = reactivex.merge(*requests)
    all_at_once.pipe(ec.accumulate_outputs()).subscribe(print)
    assert_type(reactivex.concat(*requests).pipe(ops.to_list()), Observable[list[AnyMessage]])
    kernel.inspect("print", detail_level=2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def running_on_a_loop(kernel: ec.Kernel, subshell: ec.Subshell) -> None:
    result = kernel.run(
        "6 * 7",
        silent=False,
        store_history=False,
        user_expressions={"x": "1"},
        stop_on_error=False,
        idle_grace=3,
        check=False,
    )
    assert_type(result, ec.Result)
    assert_type(await kernel.arun("6 * 7", timeout=3, max_output=100, silent=True), ec.Result)
    assert_type(await subshell.arun("6 * 7", allow_stdin=False), ec.Result)
    kernel.run("1", interrupt_if_abandoned=False)  # type: ignore[call-arg]  # pyright: ignore
    await kernel.aclose()
    await kernel.adetach()


async def typed_replies(kernel: ec.Kernel) -> None:
    info = await kernel.kernel_info()
    assert_type(info.content["language_info"]["name"], str)
    info.content["langauge_info"]  # type: ignore[typeddict-item]  # pyright: ignore
    assert_type((await kernel.complete("pri")).content.get("matches"), list[str] | None)
    assert_type((await kernel.inspect("print")).content.get("found"), bool | None)
    assert_type(await kernel.is_complete("if x:"), Message[contents.IsCompleteReply])
    assert_type(await kernel.history("tail", n=3), Message[contents.HistoryReply])
    assert_type(await kernel.comm_info(), Message[contents.CommInfoReply])
    assert_type(await kernel.debug("initialize"), Message[contents.DebugReply])
    checked = kernel.complete("pri").pipe(ec.check())
    assert_type(checked, Observable[Message[contents.CompleteReply]])
    latest = reactivex.of("p", "pr").pipe(ops.map(kernel.complete), ops.switch_latest())
    assert_type(latest, Observable[Message[contents.CompleteReply]])
    assert_type(await kernel.execute("1"), AnyMessage)
    assert_type(await kernel.request(ec.kernel_info_request()), AnyMessage)


def history(kernel: ec.Kernel) -> None:
    kernel.history()
    kernel.history(n=10, output=True)
    kernel.history("range", session=-1, start=1, stop=9, raw=False)
    kernel.history("search", pattern="im*", n=3, unique=True, timeout=None)
    kernel.history("tail", pattern="im*")  # type: ignore[call-overload]  # pyright: ignore
    kernel.history("search")  # type: ignore[call-overload]  # pyright: ignore
    kernel.history("range", last=3)  # type: ignore[call-overload]  # pyright: ignore


def request_observables(kernel: ec.Kernel) -> None:
    def text(request: ec.InputPrompt) -> str:
        return request.prompt

    async def later(request: ec.InputPrompt) -> str:
        return request.prompt

    def observed(request: ec.InputPrompt) -> Observable[str]:
        return reactivex.just(request.prompt)

    def attributes(request: ec.InputPrompt) -> str:
        assert_type(request.prompt, str)
        assert_type(request.password, bool)
        assert_type(request.message, AnyMessage)
        request.prompt = ""  # type: ignore[misc]  # pyright: ignore
        return ""

    def two(prompt: str, password: bool) -> str:
        return prompt

    kernel.run("input()", on_input=attributes)
    kernel.run("input()", on_input=two)  # type: ignore[arg-type]  # pyright: ignore
    on_inputs: list[ec.OnInput] = [text, later, observed, lambda request: request.prompt]
    for on_input in on_inputs:
        kernel.run("input()", on_input=on_input)
        kernel.execute("input()", on_input=on_input)

    def wrong(request: ec.InputPrompt) -> int:
        return 3

    kernel.run("input()", on_input=wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def ruling(kernel: ec.Kernel) -> None:
    actions: list[ec.Action] = [
        kernel.interrupt(timeout=3),
        kernel.restart(timeout=None),
        kernel.shutdown(),
    ]
    for action in actions:
        as_observable: Observable[None] = action
        as_observable.subscribe(on_error=print)
    ec.wait(kernel.interrupt(), timeout=3)
    kernel.restart(30)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    kernel.detach()
    kernel.close()


def comms(kernel: ec.Kernel) -> None:
    comm = kernel.comm("jupyter.widget", {"state": {"value": 3}})
    assert_type(comm, ec.Comm)
    kernel.comm("jupyter.widget", metadata={"version": "2.1.0"}, buffers=[b"abc"], comm_id="c1")
    assert_type(kernel.comms("jupyter.widget"), Observable[ec.Comm])
    kernel.comms().subscribe(lambda opened: print(opened.target_name))
    comm.on_next({"method": "update"})
    comm.on_next(ec.comm_msg(comm.id, {"method": "update"}))
    comm.send({"method": "update"}, buffers=[b"abc", bytearray(b"d"), memoryview(b"e")])
    as_observable: Observable[AnyMessage] = comm
    as_observable.subscribe(lambda message: print(message.content["data"]))
    comm.close({"reason": "done"}, metadata={}, buffers=[b""])
    data: Mapping[str, object] = {"a": 1}
    kernel.comm("echo", data)


def building() -> None:
    request = ec.execute_request("6 * 7", user_expressions={"x": "1"})
    assert_type(request, Message[contents.ExecuteRequest])
    assert_type(request.content["code"], str)
    assert_type(ec.kernel_info_request(), Message[contents.KernelInfoRequest])
    assert_type(ec.complete_request("pri"), Message[contents.CompleteRequest])
    assert_type(ec.input_reply("Ada"), Message[contents.InputReply])
    assert_type(ec.comm_open("c1", "echo"), Message[contents.CommOpen])
    assert_type(build.stream("stdout", "woo", parent=request), Message[contents.Stream])
    assert_type(build.status("busy", parent=request.header), Message[contents.Status])
    assert_type(build.execute_reply(1, parent=request), Message[contents.ExecuteReply])
    assert_type(ec.create_message("woo", {"a": 1}), Message[Mapping[str, Any]])
    anything: AnyMessage = request
    print(anything)
    build.stream("stdwoo", "woo")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def handling(kernel: ec.Kernel) -> None:
    try:
        kernel.run("1 / 0")
    except ec.KernelError as error:
        assert_type(error.ename, str)
        assert_type(error.traceback, tuple[str, ...])
        assert_type(error.result, ec.Result | None)
    except ec.KernelDied as error:
        assert_type(error.exit_code, int | None)
        assert_type(error.stderr, str)
    except (ec.RequestTimeout, ec.ConnectionLost, ec.RequestAborted) as error:
        assert_type(error.result, ec.Result | None)
    except ec.EnchannelError:
        raise


def catching_standard_errors(kernel: ec.Kernel) -> None:
    timeout: TimeoutError = ec.RequestTimeout("the kernel did not answer")
    connection: list[ConnectionError] = [
        ec.ConnectionFailed("connection refused"),
        ec.AuthenticationFailed("rejected"),
        ec.LaunchFailed("exited", exit_code=1),
        ec.ConnectionLost("gone"),
    ]
    system: list[OSError] = [timeout, *connection]
    lookup: LookupError = ec.BackendNotFound("no backend 'zqm'")
    missing: ImportError = ec.MissingDependency("install the extra")
    runtime: list[RuntimeError] = [ec.WouldDeadlock("await it"), ec.NotConnected("open it")]
    value: ValueError = ec.InvalidMessage("channel must be a name")
    ended: list[ec.RequestFailed] = [
        ec.ConnectionLost("gone"),
        ec.KernelDied("died", exit_code=-9, stderr="Killed"),
        ec.KernelError("NameError", "x", ("line 1",)),
        ec.RequestAborted("not run"),
        ec.RequestTimeout("no reply"),
    ]
    everything: list[EnchannelError] = [*ended, ec.BackendNotFound("no backend 'zqm'")]
    print(system, lookup, missing, runtime, value, everything)
    wrong: ec.ConnectionFailed = ec.BackendNotFound("")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(wrong)
    try:
        kernel.run("train()", timeout=3)
    except TimeoutError as error:
        if isinstance(error, ec.RequestTimeout):
            assert_type(error.result, ec.Result | None)
    except ec.RequestFailed as error:
        assert_type(error.result, ec.Result | None)
        if error.result is not None:
            assert_type(error.result.outputs, ec.Outputs)
    try:
        ec.connect("https://host/api/kernels/1234")
    except ec.AuthenticationFailed as error:
        assert_type(error.remedy, Remedy | None)
    except ConnectionError as error:
        assert_type(error.errno, int | None)
    except (LookupError, ImportError) as error:
        assert_type(error, LookupError | ImportError)


class MyLifecycle(Lifecycle):
    def interrupt(self) -> Observable[None] | None:
        return None

    def restart(self) -> Observable[None]:
        return reactivex.just(None)

    def shutdown(self) -> Observable[None]:
        return reactivex.just(None)

    def release(self) -> None: ...


class MyBackend(Backend):
    contract = 1

    def validate_open(self, target: Any, context: OpenContext, options: Mapping[str, Any]) -> None:
        if context.at is None:
            raise ValueError("at must be a server URL")

    def open(self, target: Any, context: OpenContext, *, colour: str = "red") -> Link:
        assert_type(context.session, ec.Session)
        assert_type(context.timeout, float)
        assert_type(context.scheduler, abc.SchedulerBase | None)
        assert_type(context.at, str | None)
        context.timeout = 3  # type: ignore[misc]
        shell, status = Subject[AnyMessage](), Subject[LinkEvent]()
        return Link(
            pairs={
                ec.ChannelName.SHELL: ChannelPair(shell, shell),
                ec.ChannelName.HEARTBEAT: ChannelPair[bytes](Subject(), Subject()),
            },
            events=status,
            close=lambda: None,
            kernel_id="ada",
            capabilities=Capabilities(channels=frozenset({ec.ChannelName.SHELL})),
            lifecycle=MyLifecycle(),
        )


class MyLauncher(Launcher):
    contract = 1

    def open(self, target: Any, context: OpenContext) -> Link:
        raise ec.ConnectionFailed("connection refused")

    def launch(
        self,
        name: str,
        context: OpenContext,
        *,
        cwd: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
        where: str = "here",
    ) -> Link:
        raise ec.LaunchFailed("unknown kernelspec", exit_code=1)

    def validate_launch(self, name: str, context: OpenContext, options: Mapping[str, Any]) -> None:
        raise TypeError("name must be a str")


def backends(session: ec.Session) -> None:
    assert_type(CONTRACT_VERSION, int)
    assert_type(MyBackend.contract, int)
    context = OpenContext(session=session, timeout=3, at="https://host")
    assert_type(MyBackend().open("ada", context, colour="red"), Link)
    assert_type(MyLauncher().launch("python3", context, extra_env={"A": "b"}), Link)
    assert_type(enchannel.backends.open_link("ada", at="https://host"), Link)
    assert_type(ec.Kernel.from_link(enchannel.backends.open_link("ada")), ec.Kernel)
    assert_type(enchannel.backends.launch_link(extra_env={"A": "b"}), Link)
    OpenContext(session, 3)  # type: ignore[call-arg]
    Capabilities(lifecycle=True)  # type: ignore[call-arg]
