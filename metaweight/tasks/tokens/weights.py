"""The weight of every token, where tokens are units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, StepReport
from metaweight.core.processes import ALONE, Processes
from metaweight.data.rows.loader import IGNORED
from metaweight.training.callbacks import KeptOnce, Run


class TokenWeights(KeptOnce):
    """Keeps the mean weight of each token over the epochs after the warm-up.

    ``targets`` [N, T]: those of all sentences, by position in the data set.  ``processes``: as in
    ``WeightHistory``.
    """

    def __init__(self, targets: Tensor, warmup: int, *, processes: Processes = ALONE) -> None:
        super().__init__(processes)
        self.warmup = warmup
        self.ends = (targets != IGNORED).sum(dim=1).cumsum(0)
        tokens = int(self.ends[-1])
        self.sums, self.seen = self.table(0.0, tokens), self.table(0.0, tokens)

    def on_step(self, run: Run, batch: Batch, report: StepReport) -> None:
        if run.epoch < self.warmup or not self.keeps:
            return
        slots = self.slots(report.index.cpu())
        self.sums[slots] += report.weights.to("cpu", torch.float32)
        self.seen[slots] += 1

    def slots(self, index: Tensor) -> Tensor:
        """The token [U] that each unit is: those of a sentence follow each other, ``index`` [U] is its
        position."""
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        places = torch.arange(len(index))
        rank = places - places[first][first.cumsum(0) - 1]
        starts = torch.where(index > 0, self.ends[index - 1], 0)
        return starts + rank

    def mean(self) -> Tensor:
        """[all tokens]; NaN where one was never seen."""
        return self.sums / self.seen

    def of(self, sentence: int) -> list[float]:
        """Of the tokens of one sentence."""
        start, end = int(self.ends[sentence - 1]) if sentence else 0, int(self.ends[sentence])
        mean: list[float] = (self.sums[start:end] / self.seen[start:end]).tolist()
        return mean

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.keeps:
            self.sums.copy_(state["sums"])
            self.seen.copy_(state["seen"])
