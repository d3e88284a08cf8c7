"""Gold loss correction: the transition matrix from the meta set, then training through it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.data.epochs import Epochs
from metaweight.remedies.base import Facts, Remedy, remedies, require_classes
from metaweight.remedies.course import Course, Stage
from metaweight.student.losses import ForwardCorrection, cross_entropy, of_logits


def estimated_matrix(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Row i: mean of ``probabilities`` [m, C] over the samples whose right label [m] is i; [C, C].

    A class without a sample has its row of the identity.
    """
    classes = probabilities.shape[1]
    sums = torch.zeros(classes, classes).to(probabilities).index_add_(0, labels, probabilities)
    count = torch.bincount(labels, minlength=classes).to(probabilities).unsqueeze(1)
    return torch.where(count > 0, sums / count.clamp_min(1), torch.eye(classes).to(sums))


class Marked(Epochs):
    """Batches with targets [U, 2]: the label, and 1 where the sample is among the ``trusted`` positions."""

    def __init__(self, source: Epochs, trusted: Tensor) -> None:
        super().__init__()
        self.source, self.trusted = source, trusted

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, epoch: int, position: int) -> Batch:
        """The ``position``-th batch of an epoch."""
        return self._marked(self.source.batch(epoch, position))

    def part(self, epoch: int, position: int, rank: int, size: int) -> Batch:
        """Of a batch what process ``rank`` of ``size`` has, as ``Batch.part``."""
        return self._marked(self.source.part(epoch, position, rank, size))

    def rest(self) -> None:
        """See ``Epochs``."""
        self.source.rest()

    def _marked(self, batch: Batch) -> Batch:
        marks = torch.isin(batch.index, self.trusted.to(batch.index.device))
        return replace(batch, targets=torch.stack([batch.targets, marks.to(batch.targets)], dim=1))


@of_logits
@dataclass(frozen=True, eq=False)
class MarkedLoss:
    """Corrected loss of samples that are not trusted, cross-entropy of those that are: [U].

    Targets [U, 2] are as ``Marked`` gives them; plain labels [U], as evaluation has them, are trusted.
    """

    correction: ForwardCorrection

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each sample [U]."""
        if targets.dim() == 1:
            return cross_entropy(outputs, targets)
        labels, trusted = targets.unbind(dim=1)
        return torch.where(trusted == 1, cross_entropy(outputs, labels), self.correction(outputs, labels))


@remedies.register("glc")
@dataclass(frozen=True, kw_only=True)
class GoldLossCorrection(Remedy):
    """Estimate the transition matrix with a plain student on the meta set, then train a new one through it.

    Hendrycks et al. (2018): C[i, j] is the mean over the trusted samples of class i of the plain student's
    p(j | x); the new student has the forward-corrected loss on the training set and cross-entropy on the
    trusted samples, which are trained on too.
    Differences to the paper: 1. a class without a trusted sample keeps its labels, where the paper has no
    row.  2. Both sets are shuffled into one, so that a batch holds trusted samples by their share; in the
    mean that is the paper's sum over both sets.  3. An entry of 0 counts as the smallest number
    (``ForwardCorrection``).  4. The new student starts at the plain one's initial weights.
    """

    def check(self, facts: Facts) -> None:
        require_classes(facts)

    def last(self, course: Course) -> Stage:
        pool = course.pool
        assert pool.labels is not None
        says = course.probabilities(course.plain(), pool.meta)
        matrix = estimated_matrix(says, pool.labels[pool.meta])
        reweighter = course.build()
        reweighter.student.loss = MarkedLoss(ForwardCorrection(matrix))
        source = Marked(course.batches(torch.cat([pool.train, pool.meta])), pool.meta)
        return Stage(config=course.config, source=source, reweighter=reweighter)
