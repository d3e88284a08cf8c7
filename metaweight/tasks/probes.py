"""Probes: trusted rows planted among the training rows, half with a wrong label, to test the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metaweight.data.splits import Splits, check_meta
from metaweight.tasks.config import RunConfig

RIGHT, WRONG = 1, 2
"""What ``SampleWeights.probe`` holds of a probe."""
TRIES = 100
"""Draws of a target that differs; of rows of which one in ten has another, one in 40,000 fails."""


@dataclass(frozen=True, eq=False)
class Probes:
    """Trusted rows that are trained on, whose truth is known; p of them."""

    positions: Tensor
    """[p] int64, in the numbering of the splits; the last p of the training set, in this order."""
    wrong: Tensor
    """[p] bool."""
    trusted: int
    """How many rows were trusted before."""

    @property
    def note(self) -> str:
        """How many there are, and what they were taken from."""
        return (
            f"{len(self.wrong)} of the {self.trusted} trusted rows are planted in the training set as "
            f"probes, {int(self.wrong.sum())} of them with a wrong label: they are not in the meta set"
        )

    def moved(self, splits: Splits) -> Splits:
        """With the probes at the end of the training set, and not in the meta set."""
        meta = splits.meta[~torch.isin(splits.meta, self.positions)]
        return replace(splits, train=torch.cat([splits.train, self.positions]), meta=meta)

    def marks(self, index: Tensor) -> Tensor:
        """[n] int8 for the rows ``index`` [n]: 0 for a row of the user's, else RIGHT or WRONG."""
        marks = torch.zeros(len(index), dtype=torch.int8)
        marks[torch.isin(index, self.positions[~self.wrong])] = RIGHT
        marks[torch.isin(index, self.positions[self.wrong])] = WRONG
        return marks


def check_probes(config: RunConfig) -> None:
    """Raise ValueError for a share that is none, and for probes where no teacher's weights are tested."""
    share = config.probes
    if not (math.isfinite(share) and 0 <= share < 1):
        raise ValueError(f"probes is a share of the training rows, from 0 to below 1, got {share}")
    if share and config.remedy != "none":
        raise ValueError(
            f"probes test the weights of a teacher, and remedy {config.remedy!r} goes without: leave out one "
            "of them"
        )


def plant(
    splits: Splits, labels: Tensor, share: float, *, generator: torch.Generator
) -> tuple[Splits, Tensor, Probes]:
    """Move probes from the meta set to the end of the training set, and give half of them a wrong label.

    ``labels`` [N] int64 are classes: a wrong one is drawn evenly from the other classes that there are.
    Labels of floats, [N] or [N, C], are numbers: a wrong one is that of a training row that has another.
    Raises ValueError as ``draw``, and where no meta set of two classes, or no other target, is left.
    """
    classes = None if labels.is_floating_point() else labels
    probes = draw(splits, share, classes=classes, generator=generator)
    held = probes.positions
    wrong = held[probes.wrong]
    given = labels.clone()
    if classes is None:
        given[wrong] = _other_targets(labels, splits.train, wrong, generator)
    else:
        given[wrong] = _other_classes(labels, wrong, generator)
    moved = probes.moved(splits)
    if classes is not None:
        check_meta(labels, moved.meta)
    return moved, given, probes


def draw(
    splits: Splits, share: float, *, classes: Tensor | None = None, generator: torch.Generator
) -> Probes:
    """Choose probes among the meta set, every second one to be given a wrong label.

    ``share`` of the training rows, but at most half of the trusted rows, and of those of each class where
    ``classes`` [N] int64 are given.  Raises ValueError where that gives fewer than 2.
    """
    trusted = splits.meta[torch.randperm(len(splits.meta), generator=generator)]
    free = trusted[: len(trusted) // 2] if classes is None else _half_of_each(trusted, classes[trusted])
    count = min(round(share * len(splits.train)), len(free))
    if count < 2:
        raise ValueError(
            f"probes={share:g} of {len(splits.train)} training rows, taken from {len(trusted)} trusted ones, "
            f"gives {count}: a test needs 2 at least, and says little below 40. Give a larger share, or more "
            "trusted rows; at most half of them, and of each class, are planted"
        )
    held = free[torch.randperm(len(free), generator=generator)[:count]]
    return Probes(held, torch.arange(count) % 2 == 1, len(trusted))


def _half_of_each(rows: Tensor, classes: Tensor) -> Tensor:
    """The first half of the ``rows`` [m] of each of their ``classes`` [m]."""
    order = classes.argsort(stable=True)
    sizes = torch.bincount(classes)
    rank = torch.arange(len(classes)) - (sizes.cumsum(0) - sizes)[classes[order]]
    return rows[order[rank < (sizes // 2)[classes[order]]]]


def _other_classes(labels: Tensor, wrong: Tensor, generator: torch.Generator) -> Tensor:
    """A class for each of the rows ``wrong`` [w] that is not its own."""
    there = labels.unique()
    step = torch.randint(1, len(there), (len(wrong),), generator=generator)
    others: Tensor = there[(torch.searchsorted(there, labels[wrong]) + step) % len(there)]
    return others


def _other_targets(labels: Tensor, train: Tensor, wrong: Tensor, generator: torch.Generator) -> Tensor:
    """The target of a random training row for each of the rows ``wrong`` [w], not equal to its own."""
    given = labels[wrong]
    for _ in range(TRIES):
        same = (given == labels[wrong]).reshape(len(wrong), -1).all(dim=1)
        if not bool(same.any()):
            return given
        places = torch.randint(len(train), (int(same.sum()),), generator=generator)
        given[same] = labels[train[places]]
    raise ValueError("nearly all training rows have one target: probes cannot be given a wrong one")
