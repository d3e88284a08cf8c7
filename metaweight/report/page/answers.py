"""Why a student says what it says of single rows, as the page shows it: from questions.json and .npz."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from metaweight.influence import Influence
from metaweight.influence.questions import FILE, Question, Questions
from metaweight.report.own_rows import class_names, name_of_class
from metaweight.report.page.deeds import cards_of_rows, first_ones
from metaweight.report.page.exhibits import pictures_of
from metaweight.report.page.gallery import Card
from metaweight.report.page.study import ReadRun
from metaweight.training.run_folder import RunFolder

EACH = 4
"""Samples of either end of a row."""


@dataclass(frozen=True)
class Answer:
    """Of one row."""

    title: str
    said: str
    """What the student says of it, in a sentence."""
    picture: str
    """A data URI, or empty."""
    sentences: tuple[str, ...]
    cells: tuple[tuple[str, str], ...]
    """Column and what is in it, of those that are no sentences."""
    harmful: tuple[Card, ...]
    """What raised its loss most."""
    helpful: tuple[Card, ...]
    """What lowered it most."""


def answers_of(run: ReadRun) -> list[Answer]:
    """Of a run that ``metaweight influence`` was asked of with single rows; none else.

    Raises ValueError where its files are damaged, or are of different runs.
    """
    questions = Questions.read(run.folder)
    path = run.folder / "questions.npz"
    if questions is None or not path.is_file() or not (run.folder / "weights.npz").is_file():
        return []
    values = Influence.load(path).values
    samples = RunFolder(run.folder).read_weights().own
    if values.dim() != 2 or len(values) != len(questions.asked):
        raise ValueError(f"{path} and {FILE} are of different questions")
    if len(samples.index) and int(samples.index.max()) >= values.shape[1]:
        raise ValueError(f"{path} is of {values.shape[1]:,} samples, and weights.npz of others")
    names = class_names(run.folder) or ()
    pictures = pictures_of(run, questions.of, [one.index for one in questions.asked])
    own = values[:, samples.index]
    ends = [(first_ones(one, EACH), first_ones(-one, EACH)) for one in own]
    rows = [row for both in ends for end in both for row in end]
    influences = [float(one[row]) for one, both in zip(own, ends, strict=True) for end in both for row in end]
    cards, _ = cards_of_rows(run, samples, rows, influences)  # of all, for data are read once
    left = iter(cards)
    title = questions.of.removesuffix("s").capitalize()
    return [
        Answer(
            f"{title} {one.row}",
            _said(one, names),
            picture,
            one.texts,
            one.columns,
            tuple(islice(left, len(harmful))),
            tuple(islice(left, len(helpful))),
        )
        for one, picture, (harmful, helpful) in zip(questions.asked, pictures, ends, strict=True)
    ]


def _said(one: Question, names: Sequence[str]) -> str:
    """What the student says of a row."""
    if one.given is None or one.said is None or one.sure is None:
        return f"Its loss at the end of the run is {one.loss:.4g}."
    says = f"The student says {name_of_class(one.said, names)} ({one.sure:.0%})"
    right = (
        "which is its label" if one.said == one.given else f"its label is {name_of_class(one.given, names)}"
    )
    return f"{says}, {right}; its loss at the end of the run is {one.loss:.4g}."
