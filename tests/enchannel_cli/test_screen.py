"""Where the command writes."""

import io
import sys

import pytest

from enchannel._cli.terminal import backlog
from enchannel._cli.terminal.backlog import MAX_BACKLOG_LENGTH
from enchannel._cli.terminal.screen import MAX_WRITE_LENGTH, RESET_COLOURS, Screen


class Stream(io.StringIO):
    """A terminal, or a pipe."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def a_terminal(**environ: str) -> tuple[Screen, Stream]:
    stream = Stream(terminal=True)
    return Screen(stream, stream, environ), stream


def a_pipe() -> tuple[Screen, Stream, Stream]:
    out, err = Stream(terminal=False), Stream(terminal=False)
    return Screen(out, err, {}), out, err


def test_a_pipe_gets_streams_as_they_are() -> None:
    screen, out, _ = a_pipe()
    screen.write_stream(screen.out, "\x1b[2J\x1b[31m50%\r\x00")
    assert out.getvalue() == "\x1b[2J\x1b[31m50%\r\x00"


def test_a_pipe_gets_results_and_tracebacks_without_colours() -> None:
    screen, out, err = a_pipe()
    screen.write_block(screen.out, "\x1b[33m42\x1b[39m")
    screen.write_traceback("\x1b[31mError\x1b[39m")
    assert (out.getvalue(), err.getvalue()) == ("42\n", "Error\n")


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours(environ: dict[str, str]) -> None:
    screen, shown = a_terminal(**environ)
    screen.write_stream(screen.out, "\x1b[31mred\x1b[0m")
    screen.write_traceback("\x1b[31mError\x1b[39m")
    assert shown.getvalue() == "red\nError\n"


def test_an_empty_no_color_means_nothing() -> None:
    screen, _ = a_terminal(NO_COLOR="")
    assert screen.out.has_colours


def test_a_colour_that_is_left_on_is_turned_off() -> None:
    screen, shown = a_terminal()
    screen.write_stream(screen.out, "\x1b[31mred\n")
    screen.finish()
    assert shown.getvalue() == f"\x1b[31mred\n{RESET_COLOURS}"


def test_results_begin_on_a_line_of_their_own() -> None:
    screen, out, _ = a_pipe()
    screen.write_stream(screen.out, "woo")
    screen.write_block(screen.out, "42")
    screen.write_block(screen.out, "43")
    assert out.getvalue() == "woo\n42\n43\n"


def test_a_colour_after_the_newline_is_no_text() -> None:
    screen, shown = a_terminal()
    screen.write_stream(screen.out, "\x1b[31mwoo\n\x1b[0m")
    screen.write_block(screen.out, "42")
    assert shown.getvalue() == "\x1b[31mwoo\n\x1b[0m42\n"


def test_one_terminal_has_one_cursor() -> None:
    screen, shown = a_terminal()
    screen.write_stream(screen.out, "woo")
    screen.write_traceback("Error")
    assert shown.getvalue() == "woo\nError\n"


def test_what_is_said_cannot_move_the_terminal() -> None:
    screen, shown = a_terminal()
    screen.print_message("kernel \x1b]0;evil\x07\x1b[2Jdied")
    assert shown.getvalue() == "enchannel: kernel died\n"


def test_closed_streams_are_written_to_in_vain() -> None:
    screen = Screen(None, None, {})
    screen.write_stream(screen.out, "x")
    screen.print_message("y")
    screen.out.stream.close()
    screen.err.stream.close()


def test_what_a_stream_cannot_spell_is_escaped() -> None:
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding="ascii") as stream:
        screen = Screen(stream, sys.stderr, {})
        screen.write_stream(screen.out, "é\ud800\n")
        screen.flush()
        assert written.getvalue() == b"\\xe9\\ud800\n"


def test_after_ctrl_c_most_of_what_had_piled_up_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlog, "SETTLE_TIME", 0.0)
    screen, shown = a_terminal()
    screen.skip_backlog()
    for _ in range(10):
        screen.write_stream(screen.out, "x" * (MAX_WRITE_LENGTH - 1) + "\n")
    screen.write_stream(screen.out, "the last\n")
    screen.on_queue_empty()
    text = shown.getvalue()
    assert len(text) < 2 * MAX_BACKLOG_LENGTH
    assert "characters of output skipped" in text
    assert text.endswith("the last\n")
    screen.write_stream(screen.out, "and so on\n")
    assert shown.getvalue().endswith("the last\nand so on\n")


def test_after_ctrl_c_what_is_little_is_shown() -> None:
    screen, shown = a_terminal()
    screen.skip_backlog()
    screen.write_stream(screen.out, "cleaning up\n")
    screen.write_traceback("KeyboardInterrupt")
    assert shown.getvalue() == "cleaning up\nKeyboardInterrupt\n"


def test_in_a_pipe_nothing_is_left_out() -> None:
    screen, out, _ = a_pipe()
    screen.skip_backlog()
    screen.write_stream(screen.out, "x" * 10 * MAX_WRITE_LENGTH)
    assert len(out.getvalue()) == 10 * MAX_WRITE_LENGTH


def test_a_write_notices_a_ctrl_c_in_the_midst_of_it() -> None:
    class Reader(Stream):
        """Presses Ctrl-C when it has seen the first of it."""

        def write(self, text: str) -> int:
            screen.skip_backlog()
            return super().write(text)

    shown = Reader(terminal=True)
    screen = Screen(shown, shown, {})
    screen.write_stream(screen.out, "x" * 100 * MAX_WRITE_LENGTH)
    assert len(shown.getvalue()) <= 3 * MAX_WRITE_LENGTH
