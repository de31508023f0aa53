"""The filter for escape sequences."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enchannel._cli.terminal.escapes import MAX_SEQUENCE_LENGTH, Escapes, strip_escapes

# Texts are made of characters that begin, continue or end a sequence.
PIECES = (
    *("\x1b", "[", "]", "m", "31", ";", "J", "\\", "\x07", "\x9b", "\x9d", "\x9c", "\x90", "\x18"),
    *("\n", "\r", "\b", "\t", "\x00", "é", "P", "(", "?", " "),
)
texts = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@pytest.mark.parametrize(
    "text",
    [
        "plain, with é and 漢字\n",
        "a\tb\r\n",
        "50%\r100%\n",
        "x\by",
        "\x1b[31mred\x1b[0m",
        "\x1b[38;5;28;01mgreen\x1b[39;00m",
        "\x1b[38:2::1:2:3mtrue\x1b[m",
    ],
)
def test_text_and_colours_pass(text: str) -> None:
    assert Escapes(colours=True).feed(text) == text


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[2J",
        "\x1b[10;10H",
        "\x1b[?1049h",
        "\x1b[>4;2m",  # xterm's modifyOtherKeys
        # The terminal's answer would be read as input.
        "\x1b[6n",
        "\x1b]0;title\x07",
        "\x1b]52;c;ZXZpbA==\x1b\\",
        "\x1b]8;;http://evil\x1b\\",
        "\x1bP1$r0m\x1b\\",
        "\x1b_Gi=1;AAAA\x1b\\",
        "\x1bc",
        "\x1b(0",
        "\x1b7",
        "\x9b2J",
        "\x9b31m",
        "\x9d0;title\x9c",
        "\x90q#\x9c",
        "\x84",
        "\x00",
        "\x07",
        "\x0e",
        "\x7f",
        "\x1b\x1b[2J",
    ],
)
def test_other_sequences_are_removed(sequence: str) -> None:
    assert Escapes(colours=True).feed(f"a{sequence}b") == "ab"


@pytest.mark.parametrize("text", ["\x1b]0;never ended\nshown", "\x1bPnever\x18shown"])
def test_unterminated_string_ends_at_newline(text: str) -> None:
    assert Escapes(colours=True).feed(text).strip() == "shown"


def test_strip_escapes_removes_colours() -> None:
    assert strip_escapes("\x1b[31mred\x1b[0m \x1b]0;title\x07text\n") == "red text\n"


@given(texts)
def test_only_colours_pass(text: str) -> None:
    shown = Escapes(colours=True).feed(text)
    without_colours = re.sub(r"\x1b\[[0-9;:]*m", "", shown)
    assert not re.search(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]", without_colours)


@given(texts, st.data())
def test_pieces_give_same_text_as_whole(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole, cut = Escapes(colours=True), Escapes(colours=True)
    assert "".join(map(cut.feed, pieces)) == whole.feed(text)


def test_unfinished_sequence_is_bounded() -> None:
    escapes = Escapes(colours=True)
    for start in ("\x1b]0;", "\x1b[", "\x1b("):
        for piece in (start, *["1" * 1000] * 100):
            escapes.feed(piece)
            assert len(escapes._cut) <= MAX_SEQUENCE_LENGTH
        escapes.feed("\x07\n")


def test_is_coloured_until_reset() -> None:
    escapes = Escapes(colours=True)
    escapes.feed("\x1b[31mred")
    assert escapes.is_coloured
    escapes.feed("\x1b[0m")
    assert not escapes.is_coloured
