"""Text as a terminal shows it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enchannel._outputs.terminal import plain_text, settled

ESC = "\x1b"
ODD = st.text(st.sampled_from(list("ab1;[]KmP\\ \n\r\b\t\x07\x1b\x9b\x00\x7f")))

SHOWN = {
    "nothing": ("", ""),
    "text as it is": ("Grüße,\tWelt\n", "Grüße,\tWelt\n"),
    "no colours": (f"{ESC}[0;31mred{ESC}[0m and {ESC}[1mbold", "red and bold"),
    "no colours of 8 bits": ("\x9b31mred\x9bm", "red"),
    "no colour that was cut off": (f"red{ESC}[0;3", "red"),
    "no title": (f"{ESC}]0;title\x07text", "text"),
    "the text of a link": (f"{ESC}]8;;http://x{ESC}\\here{ESC}]8;;{ESC}\\", "here"),
    "no image": (f"{ESC}Pq#0;2\n~~{ESC}\\after", "after"),
    "no image where lines are written over": (f"{ESC}Pq#\r\n~~{ESC}\\after", "after"),
    "an escape sequence without an end": (f"{ESC}]0;title", "0;title"),
    "an escape alone": (f"a{ESC}", "a"),
    "other escapes": (f"{ESC}(Ba{ESC}=b{ESC}7", "ab"),
    "no bell": ("a\x07b\x00c\x7f", "abc"),
    "lines that end as on Windows": ("a\r\nb\r\n", "a\nb\n"),
    "also in colour": (f"a\r{ESC}[0m\nb", "a\nb"),
    "the last state of a progress bar": ("\r 1%\r50%\r100%\n", "100%\n"),
    "written over, not erased": ("12345\rab", "ab345"),
    "each line by itself": ("a\rb\nc\rd", "b\nd"),
    "going back": ("10%\b\b\b20%", "20%"),
    "not further than the line": ("\nab\b\b\b\bxy", "\nxy"),
    "going back erases nothing": ("abc\b\b", "abc"),
    "erased to the end": (f"12345\rab{ESC}[K", "ab"),
    "erased to the end, with a number": (f"12345\r{ESC}[0Kab", "ab"),
    "erased from the beginning": (f"12345\b\b{ESC}[1K", "   45"),
    "the line erased": (f"12345\r{ESC}[2Kab", "ab"),
    "the line erased, from where it was": (f"12\b{ESC}[2Kab", " ab"),
    "in colour, and written over": (f"{ESC}[31m12345{ESC}[0m\r{ESC}[32mab", "ab345"),
}


@pytest.mark.parametrize(("text", "shown"), SHOWN.values(), ids=SHOWN.keys())
def test_plain_text_of_terminal_text(text: str, shown: str) -> None:
    assert plain_text(text) == shown


@given(ODD)
def test_plain_text_has_no_control_characters(text: str) -> None:
    shown = plain_text(text)
    assert all(character.isprintable() or character in "\n\t" for character in shown)


@given(ODD)
def test_plain_text_stays_unchanged(text: str) -> None:
    shown = plain_text(text)
    assert plain_text(shown) == shown


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_text_without_overwriting_stays_unchanged(text: str) -> None:
    assert plain_text(text) == text


# -- text that grows ------------------------------------------------------------------------------

RED, GREEN, BOLD, RESET = (f"{ESC}[{code}m" for code in (31, 32, 1, 0))

SETTLED = {
    "nothing": ("", "", ""),
    "text as it is": (f"a\t{RED}b{RESET}\x07\n", f"a\t{RED}b{RESET}\x07\n", ""),
    "the last state of a progress bar": ("\r 1%\r50%\r100%", "100%", ""),
    "lines that end as on Windows": ("a\r\nb\r\n", "a\nb\n", ""),
    "where the cursor is": ("12345\rab", "ab345", "\rab"),
    "at the beginning": ("100%\r", "100%", "\r"),
    "after a backspace": ("abc\b", "abc", "\rab"),
    "colours that stay": (
        f"{RED}12345{RESET}\r{GREEN}ab{RESET}",
        f"{GREEN}ab{RESET}{RED}345{RESET}",
        f"\r{GREEN}ab{RESET}",
    ),
    "colours that add up": (f"{RED}ab{BOLD}cd\r{GREEN}x", None, None),
    "the colour after the text": (f"ab\r{RED}", f"ab{RED}", "\r"),
    "the colour of an earlier line": (f"{RED}a\nbc\rd", f"{RED}a\ndc", "\rd"),
    "a colour after a reset": (f"{RED}a{ESC}[0;32mb\rc", f"{ESC}[0;32mcb", "\rc"),
    "an escape that was cut off": (f"ab\rc{ESC}[3", "cb", f"\rc{ESC}[3"),
    "a title that was cut off": (f"ab\rc{ESC}]0;t", "cb", f"\rc{ESC}]0;t"),
    "no title where lines are written over": (f"ab\r{ESC}]0;t\x07c", "cb", "\rc"),
    "titles elsewhere": (f"{ESC}]0;t\x07x\nab\rc\n", f"{ESC}]0;t\x07x\ncb\n", ""),
    "erased": (f"12345\rab{ESC}[K", "ab", ""),
}
# Without control strings a terminal shows the same; control strings may contain newlines.
LINES = st.lists(
    st.sampled_from(
        [*"ab \n\r\b", RED, GREEN, BOLD, RESET, f"{ESC}[0;31m", f"{ESC}[K", f"{ESC}[1K", ESC, "["]
    )
).map("".join)


@pytest.mark.parametrize(("text", "shown", "rest"), SETTLED.values(), ids=SETTLED.keys())
def test_settled_text(text: str, shown: str | None, rest: str | None) -> None:
    now = settled(text)
    assert shown is None or now.shown == shown
    assert rest is None or now.rest == rest
    # An unfinished escape sequence is not shown.
    if "]" not in text:
        assert plain_text(now.shown) == plain_text(text)


@given(LINES)
def test_settled_text_looks_the_same(text: str) -> None:
    assert plain_text(settled(text).shown) == plain_text(text)
    assert "\r" not in settled(text).shown
    assert "\b" not in settled(text).shown


@given(LINES, LINES)
def test_settling_pieces_equals_settling_all(first: str, second: str) -> None:
    in_pieces = settled(str(settled(first)) + second)
    assert Screenful(in_pieces.shown) == Screenful(settled(first + second).shown)


@given(LINES)
def test_settling_is_idempotent(text: str) -> None:
    now = settled(text)
    assert settled(now.shown).shown == now.shown


def test_colour_codes_are_bounded() -> None:
    colours = "".join(f"{ESC}[38;2;{i};0;0m" for i in range(200))
    assert len(settled(f"{colours}ab\rc").shown) < 1000


class Screenful:
    """A text as it looks: each character with its colour, independent of the codes used."""

    def __init__(self, text: str) -> None:
        self.looks: list[tuple[str, tuple[str, ...]]] = []
        colours: tuple[str, ...] = ()
        unseen = rf"{ESC}\[[0-?]*[ -/]*(?:[@-~]|\Z)|{ESC}[ -/]*[0-~]?"
        for step in re.finditer(rf"{ESC}\[([0-9;]*)m|{unseen}|(.)", text, re.DOTALL):
            if step[2] is not None:
                self.looks.append((step[2], colours))
            if step[1] is None:
                continue
            for code in step[1].split(";"):
                colours = () if code in ("", "0") else (*(c for c in colours if c != code), code)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Screenful) and self.looks == other.looks

    def __repr__(self) -> str:
        return repr(self.looks)


def test_repeated_erasing_is_linear() -> None:
    # Quadratic erasing would run into the timeout of the test.
    count = 200_000
    assert plain_text("abc\x1b[1K" * count) == "   " * count
