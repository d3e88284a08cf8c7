"""What a self-test says, and how one is run so that none ends the others."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Literal

from metaweight.core.records import Record

State = Literal["passed", "failed", "skipped"]


class Measure(Record, frozen=True, kw_only=True):
    """An engine's slopes on one problem."""

    problem: str
    off: float | None
    """|slopes - differences| / |differences|; None: the engine gave none, or no numbers."""
    bound: float
    """What ``off`` may be at most."""
    refused: str | None
    """The words in which the engine refused the problem; None: it did not."""
    expected: bool
    """Whether that is what its abilities promise."""


class SelfTest(Record, frozen=True, kw_only=True):
    """One that was run, or why it was not."""

    name: str
    state: State
    what: str
    """One line for people."""
    measures: tuple[Measure, ...] = ()
    """Of an engine."""
    seconds: float = 0.0


class Skipped(Exception):
    """A test cannot be run here: the message says why."""


def run_test(name: str, test: Callable[[], str | tuple[Measure, ...]]) -> SelfTest:
    """Run ``test``, which gives a line or measures; what it raises fails it, but for Skipped.

    Warnings go nowhere: an approximation may well say that it is rough on so small a problem.
    """
    start = time.perf_counter()
    measures: tuple[Measure, ...] = ()
    state: State = "passed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answer = test()
        except Skipped as why:
            state, what = "skipped", str(why)
        except Exception as error:  # what a broken part raises is anything
            state, what = "failed", one_line(error)
        else:
            if isinstance(answer, str):
                what = answer
            else:
                measures = answer
                state = "passed" if all(one.expected for one in measures) else "failed"
                what = "; ".join(map(in_words, measures))
    return SelfTest(name=name, state=state, what=what, measures=measures, seconds=time.perf_counter() - start)


def one_line(error: BaseException) -> str:
    """Type and message of an error."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def in_words(measure: Measure) -> str:
    """``MLP 2e-11``; where it is not as expected, why."""
    if measure.refused is not None:
        return f"{measure.problem} refused" + ("" if measure.expected else f" ({measure.refused})")
    off = "no number" if measure.off is None else f"{measure.off:.0e}"
    return f"{measure.problem} {off}" + ("" if measure.expected else f" (at most {measure.bound:.0e})")
