"""Which trusted rows drive what is learnt, and which choose among what came out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from metaweight.influence.targets import Meta, Targets
from metaweight.student.student import Student

Watching = Targets | Callable[[Student], float]
"""Rows whose loss chooses, or a figure of the student that is the better the lower it is."""


def driving_and_watching(
    meta: Meta, valid: Meta | Callable[[Student], float] | None, device: torch.device
) -> tuple[Targets, Watching]:
    """What slopes are of, and what chooses; without ``valid`` each has half of the trusted rows.

    Raises ValueError for several sets, and for one row that cannot be halved.
    """
    asked = Targets.of(meta, each=False, device=device)
    watching = valid if valid is None or callable(valid) else Targets.of(valid, each=False, device=device)
    for what, given in (("meta", asked), ("valid", watching)):
        if isinstance(given, Targets) and len(given) != 1:
            raise ValueError(f"weights are learnt for one set, {what} has {len(given)}: join their batches")
    return _halved(asked) if watching is None else (asked, watching)


def named(asked: Targets, watching: Watching, *options: object) -> str:
    """12 digits for a learning: another one has a folder of its own."""
    chooser = watching.name() if isinstance(watching, Targets) else "a function"
    return asked.name(chooser, *map(str, options))


def _halved(targets: Targets) -> tuple[Targets, Targets]:
    """Every other row of one set, and the rest."""
    (batches,) = targets.sets
    halves: tuple[list[Any], list[Any]] = ([], [])
    count = 0
    for batch in batches:
        rows = torch.arange(len(batch))
        for half, batches_of_half in enumerate(halves):
            own = rows[(rows + count) % 2 == half]
            if len(own):
                batches_of_half.append(batch.rows(own))
        count += len(batch)
    first, second = halves
    if not second:
        raise ValueError(
            "one trusted row cannot be halved: give more, or rows of their own to watch (valid=)"
        )
    return replace(targets, sets=[first]), replace(targets, sets=[second])
