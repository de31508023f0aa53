"""The error classes: standard bases, and copies that lose nothing."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable

import pytest
import reactivex
from reactivex import Observable

import commutable as cm
import commutable.errors as document_errors
import enchannel as ec
from enchannel import errors
from enchannel._outputs.result import copy_of_error
from enchannel.errors import EnchannelError, Remedy
from enchannel.testing._checks import call_concurrently
from enchannel_websocket._http import ServerRefused
from tests.rigs.threads import run_on_loop

CLASSES = [
    value
    for module in (errors, document_errors)
    for name in module.__all__
    if inspect.isclass(value := getattr(module, name)) and issubclass(value, EnchannelError)
]

MADE_OTHERWISE: dict[type[EnchannelError], Callable[[], EnchannelError]] = {
    ec.KernelError: lambda: ec.KernelError("ValueError", "bad", ("a line",)),
    ec.KernelDied: lambda: ec.KernelDied("gone", exit_code=-9, stderr="Killed"),
    ec.LaunchFailed: lambda: ec.LaunchFailed("no start", exit_code=3, stderr="oops"),
    ec.MessageNotForwarded: lambda: ec.MessageNotForwarded("an id", ec.KernelDied("gone")),
    ec.SubscriberRaised: lambda: ec.SubscriberRaised("it raised", item=7),
    cm.CellFailed: lambda: cm.CellFailed(
        "stopped", cell_id="a", notebook=cm.empty_notebook, reason=ec.RequestTimeout("late")
    ),
}

STANDARD_BASES: dict[type[EnchannelError], type[Exception]] = {
    ec.AuthenticationFailed: ConnectionError,
    ec.BackendNotFound: LookupError,
    ec.ConnectionFailed: ConnectionError,
    ec.ConnectionLost: ConnectionError,
    ec.InvalidMessage: ValueError,
    ec.LaunchFailed: ConnectionError,
    ec.MissingDependency: ImportError,
    ec.NotConnected: RuntimeError,
    ec.RequestTimeout: TimeoutError,
    ec.WouldDeadlock: RuntimeError,
    cm.CellNotFound: LookupError,
    cm.DuplicateCell: ValueError,
    cm.InvalidNotebook: ValueError,
}


def make(cls: type[EnchannelError]) -> EnchannelError:
    made = MADE_OTHERWISE.get(cls, lambda: cls("the text"))()
    made.add_note("a note")
    return made


def make_with_remedy() -> EnchannelError:
    return ec.ConnectionFailed("refused", remedy=Remedy.ALLOW_HTTP)


def make_refused() -> EnchannelError:
    refused = ServerRefused("answered 500")
    refused.status = 500
    return refused


def pickled(error: EnchannelError) -> EnchannelError:
    loaded = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert isinstance(loaded, EnchannelError)
    return loaded


@pytest.mark.parametrize("duplicate", [copy.copy, pickled, copy_of_error])
@pytest.mark.parametrize(
    "make_error",
    [*((lambda cls=cls: make(cls)) for cls in CLASSES), make_with_remedy, make_refused],
    ids=[*(cls.__name__ for cls in CLASSES), "remedy", "refused"],
)
def test_error_copy_is_complete(
    make_error: Callable[[], EnchannelError],
    duplicate: Callable[[EnchannelError], EnchannelError],
) -> None:
    error = make_error()
    twin = duplicate(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error) != ""
    assert twin.args == error.args
    assert (twin.problem, twin.remedy) == (error.problem, error.remedy)
    assert vars(twin).keys() == vars(error).keys()
    for name in ("exit_code", "stderr", "status", "ename", "evalue", "traceback", "__notes__"):
        assert getattr(twin, name, None) == getattr(error, name, None)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_error_class_has_its_standard_base(cls: type[EnchannelError]) -> None:
    bases = {base for base in cls.__mro__ if base.__module__ == "builtins"}
    others = bases - {BaseException, Exception, OSError, object}
    assert others == {STANDARD_BASES[cls]} if cls in STANDARD_BASES else not others


def test_missing_backend_is_not_a_failed_connection() -> None:
    assert not issubclass(ec.BackendNotFound, ec.ConnectionFailed)
    assert not issubclass(ec.KernelDied, OSError)


def test_failed_request_has_its_result() -> None:
    with pytest.raises(ec.RequestFailed) as caught:
        ec.wait(reactivex.throw(ec.RequestAborted("not run")).pipe(ec.to_result()))
    assert caught.value.result is not None


# -- handlers of standard errors that must leave ours alone ------------------------------------


def test_check_raises_timeout_of_function() -> None:
    def request() -> None:
        raise ec.RequestTimeout("no answer")

    with pytest.raises(ec.RequestTimeout, match="no answer"):
        call_concurrently([request], within=5)


def test_last_value_keeps_timeout_of_subscribing() -> None:
    def subscribe(*_: object) -> reactivex.abc.DisposableBase:
        raise ec.RequestTimeout("the subscription's")

    async def main() -> None:
        await ec.last_value(Observable(subscribe), timeout=5)

    with pytest.raises(ec.RequestTimeout, match="the subscription's"):
        run_on_loop(main)
