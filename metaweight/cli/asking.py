"""A finished run that a command asks: opened with its options, gone through in sight of the user."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from metaweight.core.console import Terminal
from metaweight.core.contracts import Batch
from metaweight.influence import Influence, InfluenceWarning, WholeRun
from metaweight.influence.keeping import States
from metaweight.influence.recording import Tell
from metaweight.training.history import Source
from metaweight.training.progress import progress_bar

OF = {"meta": "trusted rows", "valid": "validation rows", "test": "test rows"}
"""What can be asked about, in words."""
PAUSE = 30.0
"""Seconds between two lines of progress where the output is no terminal."""


def opened(
    path: Path, *, checkpoints: str, states: States = "exact", recorded: bool, low_memory: bool = False
) -> WholeRun:
    """The run in ``path``, as options of the command line say it; raises as ``WholeRun.opened``."""
    return WholeRun.opened(
        path,
        checkpoints=int(checkpoints) if checkpoints.isdecimal() else checkpoints,
        states=states,
        on_difference="recorded" if recorded else "stop",
        low_memory=low_memory,
    )


def recorded(console: Terminal, run: WholeRun) -> None:
    """Record the run, with its progress."""
    with counted(console, "the run again") as tell:
        run.record(tell)


def influence_of(console: Terminal, run: WholeRun, rows: Source | Sequence[Batch]) -> Influence:
    """What the run's samples did to the loss of ``rows``, of batches in a list to that of each, with its
    progress; warnings become lines."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", InfluenceWarning)
        recorded(console, run)
        with counted(console, "back through it") as tell:
            found = run.influence(rows, tell=tell)
    for one in said:
        if issubclass(one.category, InfluenceWarning):
            console.print(f"warning: {one.message}", soft_wrap=True)
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return found


@contextmanager
def counted(console: Terminal, what: str) -> Iterator[Tell]:
    """A line with what is done and the time left; elsewhere than on a terminal one now and then."""
    with progress_bar(console) as bar:
        task = bar.add_task(what, total=None)
        lines = None if console.is_terminal else _Lines(console, what)

        def tell(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)
            if lines is not None:
                lines.tell(done, of)

        yield tell


class _Lines:
    """Says how far it is, at most every ``PAUSE`` seconds."""

    def __init__(self, console: Terminal, what: str) -> None:
        self._console, self._what = console, what
        self._said = self._since = time.monotonic()
        self._first: int | None = None

    def tell(self, done: int, of: int) -> None:
        now = time.monotonic()
        if self._first is None:  # what was kept of an earlier call took no time
            self._first, self._since = done, now
        elif now - self._said > PAUSE and done > self._first:
            left = (now - self._since) / (done - self._first) * (of - done)
            self._console.print(f"{self._what}: {done:,} of {of:,}, about {left:,.0f} s left")
            self._said = now
