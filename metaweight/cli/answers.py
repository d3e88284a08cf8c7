"""What ``metaweight influence`` writes and prints of single rows that it was asked about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from metaweight.core.atomic import whole_file
from metaweight.core.console import Terminal
from metaweight.core.csv_columns import write_by_column
from metaweight.influence import Influence
from metaweight.influence.questions import Question, Questions
from metaweight.influence.result import highest_first
from metaweight.report.own_rows import own_columns
from metaweight.training.sample_weights import SampleWeights, origin_columns

SHOWN = 3


def write_answers(
    table: Path, found: Influence, questions: Questions, samples: SampleWeights, folder: Path
) -> None:
    """A row for each sample, the one that did the rows most harm first, with a column for each question."""
    values = found.values[:, samples.index]
    columns = {"index": samples.index.numpy()}
    columns |= {f"influence_{one.row}": own.numpy() for one, own in zip(questions.asked, values, strict=True)}
    columns |= origin_columns(samples)
    own = own_columns(folder, samples.index.numpy()) or {}
    columns |= {f"own_{name}" if name in columns else name: cells for name, cells in own.items()}
    with whole_file(table) as file:
        write_by_column(file, columns, highest_first(values.mean(0)))


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
        table.add_row(
            str(one.row), f"{one.loss:.3g}", _named(one.given, classes), said_of(one, classes), *ends
        )
    console.print(table)


def said_of(question: Question, classes: Sequence[str]) -> str:
    """ "seven (93 %)"; empty where rows have no single class."""
    if question.said is None or question.sure is None:
        return ""
    return f"{_named(question.said, classes)} ({question.sure:.0%})"


def _named(label: int | None, classes: Sequence[str]) -> str:
    if label is None:
        return ""
    return classes[label] if 0 <= label < len(classes) else str(label)
