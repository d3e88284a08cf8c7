"""What is printed is what stands there: no markup, no emoji, nothing that a terminal would obey."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Column, Table

from metaweight.core.console import LEAST, Terminal
from metaweight.core.shown import shown


def printed(what: object, **options: object) -> str:
    terminal = Terminal()
    terminal.file = io.StringIO()
    terminal.print(what, **options)
    return terminal.file.getvalue()


@pytest.mark.parametrize(
    "text", ["run[lr=0.1]", "exp[/v2]", "[bold]x[/bold]", "a:smile:b", "\\[x]", "[link=x]y"]
)
def test_brackets_and_colons_are_printed_as_they_are(text: str) -> None:
    assert printed(text, soft_wrap=True) == f"{text}\n"
    assert printed(text, soft_wrap=True, markup=True, emoji=True) == f"{text}\n"
    table = Table(text, title=text, caption=text)
    table.add_row(text)
    assert printed(table).count(text) == 4


def test_what_a_terminal_would_obey_is_spelt_out() -> None:
    hostile = "a\x1b]0;title\x07b\x9b2J\u202ecod\u2066.exe\x00\rok"
    told = r"a\x1b]0;title\x07b\x9b2J\u202ecod\u2066.exe\x00\rok"
    assert shown(hostile) == told
    assert printed(hostile, soft_wrap=True) == f"{told}\n"
    table = Table("name")
    table.add_row(hostile)
    assert told in printed(table)
    assert (
        shown("line\nline\tdäs \u05d0\u200f \u3042 \U0001f600")
        == "line\nline\tdäs \u05d0\u200f \u3042 \U0001f600"
    )


@given(st.text())
def test_no_text_moves_the_cursor_or_turns_the_direction(text: str) -> None:
    found = shown(text)
    assert not [c for c in found if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert not set(found) & set(
        "\x1b\x9b\r\x08\x07\x00\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )
    assert shown(found) == found


@pytest.mark.parametrize("columns", ["1", "2", "0", "19", "x"])
def test_a_narrow_terminal_breaks_lines_and_cuts_nothing(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    table = Table(Column("what", overflow="fold"), "figure")
    table.add_row("accuracy", "97.1")
    lines = printed(table).splitlines()
    assert len(lines) <= 6
    assert "97.1" in lines[3]
    assert Terminal().width >= LEAST
