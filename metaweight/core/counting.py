"""A line of progress for work that takes a while, on the terminal of a command that asked for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from metaweight.core.console import Terminal
from metaweight.core.shown import shown

T = TypeVar("T")
_console: ContextVar[Terminal | None] = ContextVar("console", default=None)


@contextmanager
def counting_on(console: Terminal) -> Iterator[None]:
    """Let ``counted`` draw on ``console`` within; no other live display may be on it meanwhile."""
    before = _console.set(console)
    try:
        yield
    finally:
        _console.reset(before)


def counted(items: Iterable[T], what: str, total: int) -> Iterable[T]:
    """``items``, of which there are ``total``, with a line that counts them and goes at their end.

    Without ``counting_on``, and where its console is no terminal, nothing is drawn.
    """
    console = _console.get()
    if console is None or not console.is_terminal:
        return items
    from rich.markup import escape
    from rich.progress import track

    return track(items, escape(shown(f"{what}, {total:,}")), total, console=console, transient=True)
