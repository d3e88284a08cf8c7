"""Probes of a fit: trusted rows that are trained on, half of them with a wrong target."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metaweight.data import derive
from metaweight.data.splits import Splits
from metaweight.integrations.sklearn.course import Rows
from metaweight.tasks.probes import plant


@dataclass(frozen=True)
class Planted:
    """The rows of a fit with probes among them."""

    train: Rows
    """The rows that are weighed, then the probes."""
    trusted: Rows
    marks: Tensor | None
    """[n] int8 for the rows of ``train``, see ``SampleWeights.probe``; None without probes."""
    notes: tuple[str, ...]


def planted(train: Rows, trusted: Rows, share: float, *, seed: int, checked: bool) -> Planted:
    """Plant probes, ``share`` of the rows to be weighed, out of the trusted ones.  Raises as ``plant``, and
    ValueError for a share that is none, or where nobody has ``checked`` the trusted rows."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise ValueError(f"probes is a share of the rows of X, from 0 to below 1, got {share!r}")
    if not share:
        return Planted(train, trusted, None, ())
    if not checked:
        raise ValueError(
            "probes are rows that are surely right, and nobody has checked those that meta_from_train draws: "
            "give trusted rows, or leave out probes"
        )
    size = len(train.targets)
    targets = torch.cat([train.targets, trusted.targets])
    inputs = tuple(torch.cat(both) for both in zip(train.inputs, trusted.inputs, strict=True))
    index = torch.cat([train.index, trusted.index])
    splits = Splits(torch.arange(size), torch.arange(size, len(targets)), torch.empty(0, dtype=torch.int64))
    splits, targets, probes = plant(splits, targets, share, generator=derive(seed, "probes"))
    rows, right = (
        Rows(tuple(value[at] for value in inputs), targets[at], index[at])
        for at in (splits.train, splits.meta)
    )
    return Planted(rows, right, probes.marks(splits.train), (probes.note,))
