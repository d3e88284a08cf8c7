"""A line of progress: on a terminal that was named, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from metaweight.core.console import Terminal
from metaweight.core.counting import counted, counting_on


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", stream)
    with counting_on(Terminal()):
        assert list(counted(range(1200), "reading [/]\x1b[2J", 1200)) == list(range(1200))
    return stream.getvalue()


def test_a_terminal_sees_what_is_counted_as_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(Screen(), monkeypatch)
    assert r"reading [/]\x1b[2J, 1,200" in text
    assert "100%" in text
    assert "\x1b[2K" in text  # the line goes at the end


def test_a_file_and_code_without_a_console_see_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(io.StringIO(), monkeypatch) == ""
    items = range(3)
    assert counted(items, "reading", 3) is items
