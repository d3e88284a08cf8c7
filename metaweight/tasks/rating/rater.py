"""Rater: the student and the teacher of a run that has ended, and what they say of new rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from metaweight.core.contracts import StudentState
from metaweight.core.modes import evaluating
from metaweight.student.student import Student
from metaweight.tasks.rating.new import New, Reader
from metaweight.tasks.rating.rated import Rated
from metaweight.teachers.base import Recipe
from metaweight.teachers.rating import rate, require_rating


@dataclass(frozen=True, eq=False)
class Rater:
    """Weighs rows that were never trained on."""

    student: Student
    recipe: Recipe
    """Of the teacher."""
    state: Mapping[str, Tensor]
    """What lasts of the teacher, see ``lasting_state``."""
    progress: float
    """Share of training done at the end of the run."""
    reader: Reader

    def rate(self, new: New, *, batch_size: int | None = None) -> Rated:
        """The weight of every row of ``new``.

        The student is in eval mode.  A weight depends on its row and on which other rows are in ``new``, for
        ranks and a mean of 1 are taken over all of it, as in training over a batch; neither on their order
        nor on ``batch_size``, the rows that go through the student at once.  A token's weight counts for its
        sentence in the mean over its tokens.  Raises ValueError for a teacher that cannot (``unrated``).
        """
        require_rating(self.recipe.name)

        def states() -> Iterator[StudentState]:
            for batch in new.batches(batch_size):
                yield self.student.without_graph(partial(self.student, batch)).state(self.progress)

        with evaluating(self.student.module):
            index, weights = rate(self.recipe, self.state, len(new.places), states)
            said = None if new.says is None else new.says(self.student)
        index, weights = index.cpu(), weights.double().cpu()
        order = index.argsort(stable=True)
        counts = index.bincount(minlength=len(new.places))
        own = torch.zeros(len(counts), dtype=torch.float64).index_add_(0, index, weights) / counts
        whole = torch.full((len(new),), torch.nan, dtype=torch.float64)
        whole[new.places] = own
        if new.by_token is None and new.vocabulary is None:
            return Rated(new, whole, None, said)
        each = [part.tolist() for part in weights[order].split(counts.tolist())]
        tokens = None if new.by_token is None else tuple(new.by_token(self.student, each))
        return Rated(new, whole, each, said, tokens)
