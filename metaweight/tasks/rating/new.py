"""Rows that come after a run: read as its training rows were, with the labels that they were given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.data.origins import LeftOut, Origins
from metaweight.student.student import Student

if TYPE_CHECKING:
    from metaweight.data.text.vocabulary import Vocabulary

ByToken = Callable[[Student, Sequence[Sequence[float]]], Iterable[tuple[object, ...]]]
"""(student, weights of the tokens of each of m sentences) -> a row a token, under
``tasks.tokens.results.HEADER``."""


class Said(NamedTuple):
    """What the student says of m rows."""

    labels: Sequence[Any]
    """m, in the user's words."""
    share: Sequence[float] | None = None
    """m, its probability of these; None where targets have none."""


@dataclass(frozen=True, eq=False)
class New:
    """n rows of one source, of which m are weighed."""

    origins: Origins
    """[n]."""
    columns: Mapping[str, Sequence[Any]]
    """n cells of each of the user's own columns but the label."""
    places: Tensor
    """[m] int64, which of the n are weighed, in their order; the others lack a label or an input."""
    left_out: LeftOut
    """The others, with the reasons."""
    batches: Callable[[int | None], Iterable[Batch]]
    """Rows at once (None: as many as the task takes) -> the m rows in batches, index 0 to m - 1."""
    given: Sequence[str] | None = None
    """n labels as the user gave them; None where a row has none."""
    classes: Sequence[int] | None = None
    """m, which class each was given; None where targets are no classes."""
    notes: tuple[str, ...] = ()
    """How the source was read."""
    says: Callable[[Student], Said] | None = None
    """What a student says of the m rows; None where it suggests no label for a row."""
    by_token: ByToken | None = None
    """Of sentences of labelled tokens; None of other rows."""
    vocabulary: Vocabulary | None = None
    """Of sentence pairs that of the run's targets; None of other rows."""
    paths: bool = False
    """Whether cells are paths that begin at the folder of the source."""

    def __len__(self) -> int:
        return len(self.origins)


class Reader(Protocol):
    """How a run reads rows that come after it."""

    def student(self) -> Student:
        """A student like that of the run, untrained."""
        ...

    def read(self, place: str) -> New:
        """The rows of what the user names, a file or a folder.

        Raises ValueError that names file and row for what cannot be read, and for a class that the run does
        not know.
        """
        ...
