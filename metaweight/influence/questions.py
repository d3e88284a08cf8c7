"""Single rows that a run is asked about: what its student says of them at the end, and which they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from msgspec import field
from msgspec.structs import replace

from metaweight.core.contracts import Batch
from metaweight.core.modes import evaluating
from metaweight.core.records import Record, read_record, require_format, write_record
from metaweight.core.shown import shown
from metaweight.influence.point import Point
from metaweight.influence.targets import Targets
from metaweight.student.student import Student
from metaweight.training.history import Source

FORMAT = 1
FILE = "questions.json"
MOST = 20
"""Rows that are asked about at once: each costs about two plain runs."""
COLUMNS, LONG = 12, 400
"""Columns of a row that are kept, and characters of each."""
SHORT = 40
"""Characters of a cell that stands beside its column's name; longer ones are read as sentences."""
Cells = Callable[[Sequence[int]], Sequence[Mapping[str, str]]]
"""Positions of rows -> what each looks like, column by column; none where rows have no columns."""


class Question(Record, frozen=True):
    """One row, and what the student says of it."""

    row: int
    """Its place among the rows that were asked about, from 0."""
    index: int
    """Its position in the data set."""
    loss: float
    given: int | None
    """Its label; None where rows have no single class."""
    said: int | None
    """The student's."""
    sure: float | None
    """The student's probability of what it says."""
    cells: dict[str, str] = field(default_factory=dict)
    """Column -> what is in it, of rows that have columns or sentences; long texts are cut."""

    @property
    def texts(self) -> tuple[str, ...]:
        """Cells that are read as sentences: long ones, and all where there are one or two."""
        few = len(self.cells) <= 2
        return tuple(text for text in self.cells.values() if text and (few or len(text) > SHORT))

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """The others, with their names."""
        texts = self.texts
        return tuple((name, text) for name, text in self.cells.items() if text and text not in texts)


class Questions(Record, frozen=True):
    """The file ``questions.json``, beside the influences in ``questions.npz`` [Q, N]."""

    format: int
    of: str
    """Whose rows they are, in words ("test rows")."""
    asked: list[Question]

    def write(self, folder: Path) -> None:
        """Into ``folder``."""
        write_record(folder / FILE, self)

    @staticmethod
    def read(folder: Path) -> Questions | None:
        """What a folder holds; None without.  Raises ValueError for a damaged file or a newer format."""
        path = folder / FILE
        if not path.is_file():
            return None
        found = read_record(Questions, path)
        require_format(path, found.format, FORMAT)
        return found


@dataclass(frozen=True)
class Asked:
    """Questions with the rows themselves, a batch each."""

    questions: Questions
    rows: list[Batch]


def asked_of(
    student: Student,
    end: Point,
    source: Source,
    of: str,
    *,
    rows: Sequence[int],
    worst: int,
    cells: Cells,
) -> Asked:
    """Those of ``source`` at the places ``rows``, or the ``worst`` ones: of the highest loss at ``end``.

    Leaves the student at ``end``.  Raises ValueError for places that there are not, and for too many.
    """
    batches = [source.batch(0, position) for position in range(len(source))]
    count = sum(map(len, batches))
    if missing := [row for row in rows if not 0 <= row < count]:
        raise ValueError(f"there is no row {missing[0]} among the {count:,} {of}: they count from 0")
    if not 0 < len(rows) + worst <= MOST:
        raise ValueError(f"1 to {MOST} rows are asked about at once, got {len(rows) + worst}")
    losses = Targets(sets=[[b.to(student.device) for b in batches]], each=True).losses(student, end, "eval")
    order = sorted(range(count), key=lambda row: -losses[row])
    chosen = [*dict.fromkeys(rows), *[row for row in order if row not in rows][:worst]]
    alone = [batch.rows(torch.tensor([at])) for batch in batches for at in range(len(batch))]
    picked = [alone[row].to(student.device) for row in chosen]
    found = [_question(student, row, losses[row], batch) for row, batch in zip(chosen, picked, strict=True)]
    looks = cells([one.index for one in found])
    if looks:
        found = [replace(one, cells=_kept(look)) for one, look in zip(found, looks, strict=True)]
    return Asked(Questions(format=FORMAT, of=of, asked=found), picked)


def _kept(cells: Mapping[str, str]) -> dict[str, str]:
    texts = {name: shown(text) for name, text in list(cells.items())[:COLUMNS]}
    return {name: text if len(text) <= LONG else f"{text[:LONG]}…" for name, text in texts.items()}


@torch.no_grad()
def _question(student: Student, row: int, loss: float, batch: Batch) -> Question:
    with evaluating(student.module):
        forward = student(batch, taps=False)
    outputs, targets = forward.outputs, batch.targets
    index = int(batch.index[0])
    if outputs.dim() != 2 or targets.dim() != 1 or targets.is_floating_point() or outputs.shape[1] < 2:
        return Question(row=row, index=index, loss=loss, given=None, said=None, sure=None)
    sure, said = outputs[0].softmax(0).max(0)
    return Question(row=row, index=index, loss=loss, given=int(targets[0]), said=int(said), sure=float(sure))
