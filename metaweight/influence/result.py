"""Influences of all samples, and which of them are harmful."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaweight.core.atomic import whole_file
from metaweight.core.csv_text import number_as_cell, write_csv
from metaweight.core.records import require_format

FORMAT = 1


def highest_first(values: Tensor) -> Tensor:
    """Positions along the last dimension by falling value, equal ones in their order, NaN last."""
    return values.nan_to_num(-torch.inf).argsort(dim=-1, descending=True, stable=True)


@dataclass(frozen=True)
class Influence:
    """What a little more weight of each sample, in all its visits, does to losses at the end of a run.

    Positive: more weight, more loss; the sample is harmful.
    """

    values: Tensor
    """dL/dw [Q, N] float64, of each loss and sample; [N] where one loss was asked about.  NaN for a sample
    that was in no batch."""
    losses: Tensor
    """[Q] or a single number, the losses at the end of the run."""
    by_epoch: Tensor | None = None
    """[Q, epochs, N] or [epochs, N]: the parts of ``values`` that come from the visits of each epoch."""
    asked: str = ""
    """Whose loss it is, in words ("trusted rows"); empty where nobody said."""

    @staticmethod
    def of(parts: Tensor, losses: Tensor, *, single: bool, by_epoch: bool) -> Influence:
        """From ``parts`` [Q, epochs, N], NaN where a sample was in no batch of an epoch, and ``losses`` [Q];
        ``single``: without the dimension Q."""
        total = torch.where(parts.isnan().all(1), torch.nan, parts.nansum(1))
        if single:
            return Influence(total[0], losses[0], parts[0] if by_epoch else None)
        return Influence(total, losses, parts if by_epoch else None)

    def harmful(self, count: int = 10) -> Tensor:
        """Positions [Q, count] or [count] of the samples that do most harm, the worst first."""
        return self._first(self.values, count)

    def helpful(self, count: int = 10) -> Tensor:
        """Positions of the samples that help most, the best first."""
        return self._first(-self.values, count)

    def _first(self, keys: Tensor, count: int) -> Tensor:
        seen = int((~keys.isnan()).sum(-1).min())
        return highest_first(keys)[..., : min(count, seen)]

    def save(self, path: Path | str) -> None:
        """Write a NumPy archive, all of it or nothing.  Raises WriteError."""
        arrays: dict[str, Any] = {"values": self.values.numpy(), "losses": self.losses.numpy()}
        arrays["format"] = np.int64(FORMAT)
        if self.asked:
            arrays["asked"] = np.str_(self.asked)
        if self.by_epoch is not None:
            arrays["by_epoch"] = self.by_epoch.numpy()
        with whole_file(Path(path)) as file:
            np.savez_compressed(file, **arrays)

    @staticmethod
    def load(path: Path | str) -> Influence:
        """Read what ``save`` wrote.  Raises ValueError for another file or a newer format."""
        with np.load(Path(path), allow_pickle=False) as arrays:
            if not {"values", "losses", "format"} <= set(arrays):
                raise ValueError(f"{path} holds no influences")
            require_format(Path(path), int(arrays["format"]), FORMAT)
            parts = torch.from_numpy(arrays["by_epoch"]) if "by_epoch" in arrays else None
            asked = str(arrays["asked"]) if "asked" in arrays else ""
            values, losses = (torch.from_numpy(arrays[name]) for name in ("values", "losses"))
            return Influence(values, losses, parts, asked)

    def write_csv(self, path: Path | str) -> None:
        """A row for each sample, the most harmful first: its position and the influence on each loss."""
        values = self.values[None] if self.values.dim() == 1 else self.values
        names = ["influence"] if len(values) == 1 else [f"influence_{q}" for q in range(len(values))]
        order = highest_first(values.mean(0)).tolist()
        rows = ([i, *(number_as_cell(float(v)) for v in values[:, i])] for i in order)
        write_csv(Path(path), ["index", *names], rows)
