"""What ``metaweight influence`` prints of single rows that it was asked about."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

from rich.table import Table

from metaweight.core.console import Terminal
from metaweight.influence import Influence
from metaweight.influence.questions import Question, Questions
from metaweight.influence.result import highest_first
from metaweight.report.own_rows import name_of_class
from metaweight.training.sample_weights import SampleWeights

SHOWN = 3
WIDE = 60
"""Characters of a line of what is in a row."""


def print_answers(
    console: Terminal,
    found: Influence,
    questions: Questions,
    samples: SampleWeights,
    classes: Sequence[str],
) -> None:
    """Each row, what the student says of it, and the samples that did it most harm and most good."""
    values = found.values[:, samples.index]
    table = Table(questions.of, "loss", "label", "said", "most harmful", "most helpful")
    for one, own in zip(questions.asked, values, strict=True):
        order = highest_first(own)[: int(own.isfinite().sum())]
        first, last = order[:SHOWN], order.flip(0)[:SHOWN]
        ends = (
            "\n".join(f"{int(samples.index[at])} ({float(own[at]):+.2g})" for at in places)
            for places in (first, last)
        )
        label = "" if one.given is None else name_of_class(one.given, classes)
        said = "" if one.said is None else f"{name_of_class(one.said, classes)} ({one.sure:.0%})"
        table.add_row("\n".join([str(one.row), *_look(one)]), f"{one.loss:.3g}", label, said, *ends)
    console.print(table)


def _look(one: Question) -> list[str]:
    """A line or two of what is in the row: its texts, or its first columns."""
    lines = list(one.texts[:2]) or [", ".join(f"{name} {text}" for name, text in one.columns)]
    return [shorten(line, WIDE, placeholder="…") for line in lines if line]
