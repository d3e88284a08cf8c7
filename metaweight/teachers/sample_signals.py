"""What each sample's hypergradients say of it, in the mean over its visits."""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.core.processes import ALONE, Processes
from metaweight.core.weights import group_means, groups_of
from metaweight.teachers.per_sample import PerSample

CLIP = 3.0
"""Of a signal, in standard deviations of its batch: one step with a wild gradient is no evidence."""


def moved_mean(mean: Tensor, values: Tensor, visits: Tensor, decay: float) -> Tensor:
    """Means [U, ...] after a visit with ``values`` [U, ...], which is the ``visits``-th one [U].

    The plain mean of the first 1 / (1 - decay) visits, then an exponential one.
    """
    rate = (1 / visits.to(mean)).clamp_min(1 - decay)
    return mean.lerp(values, rate.view(-1, *[1] * (mean.dim() - 1)))


class SampleSignals(PerSample):
    """A running mean of each sample's signal, which is minus its hypergradient as the batch has it.

    A batch's hypergradient is centred, divided by its root mean square and clipped to +-CLIP, so that early
    batches, whose gradients are large, count no more than late ones.  Of a sample's first 1 / (1 - decay)
    visits it is the plain mean, then an exponential one; a decay of 0 keeps the last visit alone.
    Raises ValueError for a decay outside [0, 1).
    """

    mean: Tensor
    """[N], 0 where a sample was never seen; of those kept here, see ``PerSample``."""
    visits: Tensor
    """[N] int64."""

    def __init__(self, samples: int, *, decay: float, processes: Processes = ALONE) -> None:
        rows = {"mean": torch.zeros(()), "visits": torch.zeros((), dtype=torch.int64)}
        super().__init__(samples, rows, processes)
        if not 0 <= decay < 1:
            raise ValueError(f"decay lies in [0, 1), got {decay}")
        self.decay = decay

    def of(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Means [U] of the samples ``index``, and the share of their visits in 1 / (1 - decay) [U]."""
        kept = self.read(index)
        seen = kept["visits"].to(kept["mean"]) * (1 - self.decay)
        return kept["mean"], seen.clamp_max(1)

    def put(self, index: Tensor, values: Tensor) -> None:
        """Take dL_meta/dw [U] of the samples ``index`` [U]; the tokens of a sentence count as their mean.

        Samples that ``of`` was asked for: whether there are such is not asked again.
        """
        values = values.detach()
        centred = values.to(self.mean) - values.mean().to(self.mean)
        size = centred.square().mean().sqrt()
        signal = (-centred / size.where(size > 0, torch.ones_like(size))).clamp(-CLIP, CLIP)
        place = groups_of(index)
        signal = group_means(signal, place, len(index))[place]
        here, places = self.own(index, ask=False)
        # what was read are copies: a graph that was built on them stays valid
        visits = self.visits[places] + 1
        self.mean[places] = moved_mean(self.mean[places], signal[here], visits, self.decay)
        self.visits[places] = visits
