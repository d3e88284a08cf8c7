"""What was said of each trusted sample, in the mean over its visits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaweight.teachers.sample_signals import moved_mean


class TrustedMeans(nn.Module):
    """Running means of ``columns`` numbers of each of the last ``capacity`` trusted samples; buffers.

    They are known by their places in the meta set, which may count anew beside those of training samples.
    What a mean is of which visits, see ``moved_mean``.
    """

    mean: Tensor
    """[capacity, columns], newest batch first."""
    visits: Tensor
    """[capacity], 0 where a row is empty."""
    index: Tensor
    """[capacity] int64, -1 where a row is empty."""

    def __init__(self, columns: int, *, capacity: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros(capacity, columns))
        self.register_buffer("visits", torch.zeros(capacity))
        self.register_buffer("index", torch.full((capacity,), -1, dtype=torch.int64))

    def of(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Means [U, columns] and visits [U] of the trusted samples ``index`` [U]; 0 and 0 of unknown ones."""
        same = (index.to(self.index)[:, None] == self.index).to(self.mean)
        same = same / same.sum(dim=1, keepdim=True).clamp_min(1)  # of one that a batch had twice
        return same @ self.mean, same @ self.visits

    def put(self, index: Tensor, values: Tensor) -> None:
        """Take ``values`` [U, columns] of the trusted samples ``index`` [U]."""
        mean, visits = self.of(index)
        visits = visits + 1
        mean = moved_mean(mean, values.detach().to(mean), visits, self.decay)
        index, capacity = index.to(self.index), len(self.index)
        old = ~(self.index[:, None] == index).any(dim=1)
        # those of this batch first, then the others in their order, then what is empty now
        order = torch.cat([old.new_ones(len(index)), old]).int().argsort(dim=0, descending=True, stable=True)

        def kept(new: Tensor, held: Tensor) -> Tensor:
            return torch.cat([new, held])[order][:capacity]

        gone = F.pad(old, (len(index), 0), value=True)[order][:capacity]
        self.mean = kept(mean, self.mean) * gone[:, None]
        self.visits = kept(visits, self.visits) * gone
        self.index = kept(index, self.index).where(gone, torch.full_like(self.index, -1))
