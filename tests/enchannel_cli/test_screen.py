"""Output on terminals and in pipes."""

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


def make_terminal(**environ: str) -> tuple[Screen, Stream]:
    stream = Stream(terminal=True)
    return Screen(stream, stream, environ), stream


def make_pipes() -> tuple[Screen, Stream, Stream]:
    out, err = Stream(terminal=False), Stream(terminal=False)
    return Screen(out, err, {}), out, err


def test_stream_in_pipe_is_unchanged() -> None:
    screen, out, _ = make_pipes()
    screen.write_stream(screen.out, "\x1b[2J\x1b[31m50%\r\x00")
    assert out.getvalue() == "\x1b[2J\x1b[31m50%\r\x00"


def test_blocks_in_pipe_have_no_colours() -> None:
    screen, out, err = make_pipes()
    screen.write_block(screen.out, "\x1b[33m42\x1b[39m")
    screen.write_traceback("\x1b[31mError\x1b[39m")
    assert (out.getvalue(), err.getvalue()) == ("42\n", "Error\n")


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminal_without_colours(environ: dict[str, str]) -> None:
    screen, shown = make_terminal(**environ)
    screen.write_stream(screen.out, "\x1b[31mred\x1b[0m")
    screen.write_traceback("\x1b[31mError\x1b[39m")
    assert shown.getvalue() == "red\nError\n"


def test_empty_no_color_is_ignored() -> None:
    screen, _ = make_terminal(NO_COLOR="")
    assert screen.out.has_colours


def test_finish_resets_colours() -> None:
    screen, shown = make_terminal()
    screen.write_stream(screen.out, "\x1b[31mred\n")
    screen.finish()
    assert shown.getvalue() == f"\x1b[31mred\n{RESET_COLOURS}"


def test_block_starts_on_new_line() -> None:
    screen, out, _ = make_pipes()
    screen.write_stream(screen.out, "woo")
    screen.write_block(screen.out, "42")
    screen.write_block(screen.out, "43")
    assert out.getvalue() == "woo\n42\n43\n"


def test_colour_after_newline_keeps_line_start() -> None:
    screen, shown = make_terminal()
    screen.write_stream(screen.out, "\x1b[31mwoo\n\x1b[0m")
    screen.write_block(screen.out, "42")
    assert shown.getvalue() == "\x1b[31mwoo\n\x1b[0m42\n"


def test_both_streams_share_one_cursor() -> None:
    screen, shown = make_terminal()
    screen.write_stream(screen.out, "woo")
    screen.write_traceback("Error")
    assert shown.getvalue() == "woo\nError\n"


def test_message_has_no_escape_sequences() -> None:
    screen, shown = make_terminal()
    screen.print_message("kernel \x1b]0;evil\x07\x1b[2Jdied")
    assert shown.getvalue() == "enchannel: kernel died\n"


def test_closed_streams_are_ignored() -> None:
    screen = Screen(None, None, {})
    screen.write_stream(screen.out, "x")
    screen.print_message("y")
    screen.out.stream.close()
    screen.err.stream.close()


def test_unencodable_text_is_escaped() -> None:
    written = io.BytesIO()
    with io.TextIOWrapper(written, encoding="ascii") as stream:
        screen = Screen(stream, sys.stderr, {})
        screen.write_stream(screen.out, "é\ud800\n")
        screen.flush()
        assert written.getvalue() == b"\\xe9\\ud800\n"


def test_skip_backlog_drops_most_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlog, "SETTLE_TIME", 0.0)
    screen, shown = make_terminal()
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


def test_skip_backlog_keeps_short_output() -> None:
    screen, shown = make_terminal()
    screen.skip_backlog()
    screen.write_stream(screen.out, "cleaning up\n")
    screen.write_traceback("KeyboardInterrupt")
    assert shown.getvalue() == "cleaning up\nKeyboardInterrupt\n"


def test_skip_backlog_keeps_output_in_pipe() -> None:
    screen, out, _ = make_pipes()
    screen.skip_backlog()
    screen.write_stream(screen.out, "x" * 10 * MAX_WRITE_LENGTH)
    assert len(out.getvalue()) == 10 * MAX_WRITE_LENGTH


def test_skip_backlog_takes_effect_during_write() -> None:
    class Reader(Stream):
        """Presses Ctrl-C at the first write."""

        def write(self, text: str) -> int:
            screen.skip_backlog()
            return super().write(text)

    shown = Reader(terminal=True)
    screen = Screen(shown, shown, {})
    screen.write_stream(screen.out, "x" * 100 * MAX_WRITE_LENGTH)
    assert len(shown.getvalue()) <= 3 * MAX_WRITE_LENGTH
