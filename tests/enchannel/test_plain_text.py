"""What a terminal would show of a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enchannel._plain_text import plain_text

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
def test_it_shows(text: str, shown: str) -> None:
    assert plain_text(text) == shown


@given(ODD)
def test_it_shows_no_control_characters(text: str) -> None:
    shown = plain_text(text)
    assert all(character.isprintable() or character in "\n\t" for character in shown)


@given(ODD)
def test_what_is_plain_stays(text: str) -> None:
    shown = plain_text(text)
    assert plain_text(shown) == shown


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_other_text_stays(text: str) -> None:
    assert plain_text(text) == text
