"""When texts are the same and when one is empty, on strings that people and machines have sent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaweight.core.plain_text import is_empty, plain, same

EMPTY = {
    "nothing": "",
    "spaces": "   ",
    "tab": "\t",
    "line ends": "\r\n",
    "vertical tab and form feed": "\v\f",
    "next line": "\u0085",
    "no-break space": "\u00a0",
    "ideographic space": "\u3000",
    "line and paragraph separator": "\u2028\u2029",
    "thin and hair space": "\u2009\u200a",
    "zero-width space": "\u200b",
    "joiners": "\u200c\u200d",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "direction marks": "\u200e\u200f\u202a\u202c\u2066\u2069",
    "variation selector": "\ufe0f",
    "Hangul filler": "\u3164",
    "controls": "\x00\x08\x1b\x7f",
}
SAME = [
    ("caf\u00e9", "cafe\u0301"),
    ("a b", "a\u00a0b"),
    ("a b", " a \t b\n"),
    ("a b", "a\u3000b"),
    ("zero", "ze\u200bro"),
    ("zero", "\ufeffzero"),
    ("\u05d0 b", "\u200f\u05d0 b"),
    ("\u2764", "\u2764\ufe0f"),
    ("\uac00", "\u1100\u1161"),
]
DIFFERENT = [
    ("Zero", "zero"),
    ("zero", "zero."),
    ("ab", "a b"),
    ("\ufb01", "fi"),
    ("\uff11", "1"),
    ("\u00e9", "e"),
    ("\u2026", "..."),
]


@pytest.mark.parametrize("name", EMPTY)
def test_what_shows_nothing_is_empty(name: str) -> None:
    assert is_empty(EMPTY[name])


@pytest.mark.parametrize("text", ["a", ".", "0", "\u00b7", "\u0301", "\u2581", "\U0001f600", "\u2800x"])
def test_what_shows_something_is_not(text: str) -> None:
    assert not is_empty(text)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_text_written_in_two_ways(one: str, other: str) -> None:
    assert same(one, other)
    assert plain(one) == plain(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_letters_are_another_text(one: str, other: str) -> None:
    assert not same(one, other)


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_the_plain_form_of_a_plain_form_is_itself(text: str) -> None:
    assert plain(plain(text)) == plain(text)
    assert plain(f" \u200b{text}\u00a0 ") == plain(text)
