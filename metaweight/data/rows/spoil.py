"""Wrong targets put into training rows of which all count as right: to try and to measure with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from metaweight.core.registry import did_you_mean
from metaweight.data.noise import check_rate, corrupt, noises, uniform_draws
from metaweight.data.rows.loader import IGNORED
from metaweight.data.rows.targets import Targets
from metaweight.data.structured import OF_INPUTS

SHUFFLED = "shuffled"
"""The noise of numbers and of several labels: some rows get the target of another one."""


@dataclass(frozen=True, eq=False)
class Spoilt:
    """Targets as given, wrong ones among them."""

    targets: Tensor
    flipped: Tensor
    """[n] bool: the given target is not the right one."""
    nominal: float

    @property
    def realised(self) -> float:
        """Share of wrong targets."""
        return float(self.flipped.double().mean())


def check_spoil(kind: str, rate: float) -> None:
    """Raise KeyError for an unknown kind of noise, ValueError for a rate outside [0, 1]."""
    check_rate(rate)
    known = [SHUFFLED, *noises.names()]
    if kind not in known:
        raise KeyError(f"unknown noise {kind!r} of rows.{did_you_mean(kind, known)}")


def spoil(
    targets: Targets,
    values: Tensor,
    kind: str,
    *,
    rate: float,
    generator: torch.Generator,
    inputs: Callable[[], Tensor] | None = None,
    human: Tensor | None = None,
) -> Spoilt:
    """Give a share ``rate`` of right ``values`` [n] a wrong one, by the noise ``kind``.

    ``shuffled`` redistributes the targets of that share among its own rows, whatever they are; other kinds
    are those of classes (`corrupt`); ``uniform`` is also one of tokens, see ``other_labels``; ``human`` takes
    the labels [n] that people gave; ``inputs`` gives the rows as points [n, d] where the noise looks at them.
    Raises as ``check_spoil``, and ValueError for a kind of classes where targets are not, for ``human`` where
    there are no such labels, and for noise that looks at rows without ``inputs``.
    """
    check_spoil(kind, rate)
    if kind == "none":
        return Spoilt(values, torch.zeros(len(values), dtype=torch.bool), 0.0)
    if targets.kind == "tokens":
        if kind != "uniform":
            raise ValueError(f"noise {kind!r} is none of sentences of labelled tokens; take 'uniform'")
        rows = uniform_draws(len(values), generator) < rate
        return Spoilt(other_labels(values, rows, len(targets.classes), generator), rows, rate)
    if kind == SHUFFLED:
        rows = (uniform_draws(len(values), generator) < rate).nonzero().flatten()
        given = values.clone()
        given[rows] = values[rows[torch.randperm(len(rows), generator=generator)]]
        other = given != values
        return Spoilt(given, other.flatten(1).any(dim=1) if other.dim() > 1 else other, rate)
    if targets.kind not in ("classes", "one-logit"):
        raise ValueError(f"noise {kind!r} is one of classes; for {targets.kind} take {SHUFFLED!r}")
    if kind == "human" and human is None:
        raise ValueError("noise 'human' takes the labels that people gave, and this set brings none")
    noisy = corrupt(
        kind,
        values.long(),
        rate=rate,
        classes=len(targets.classes),
        inputs=inputs() if inputs is not None and kind in OF_INPUTS else None,
        human=None if human is None else human.long(),
        generator=generator,
    )
    return Spoilt(noisy.labels.to(values.dtype), noisy.flipped, noisy.nominal)


def other_labels(values: Tensor, rows: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """Labels of tokens [n, T] int64 with some others in each of the ``rows`` [n] bool.

    Half of a row's tokens get the label of a random token each, so that most of what is named is missed where
    little is; a row that this leaves as it was gets one label, any but the token's own.
    """
    real = values != IGNORED
    draws = uniform_draws(values.numel(), generator).view(values.shape).masked_fill(~real, 2.0)
    labels = values[real]
    others = labels[torch.randint(len(labels), values.shape, generator=generator)]
    given = torch.where((draws < 0.5) & rows[:, None], others, values)
    least = (draws == draws.min(dim=1, keepdim=True).values) & ((given == values).all(dim=1) & rows)[:, None]
    step = torch.randint(1, classes, values.shape, generator=generator)
    return torch.where(least, (values + step) % classes, given)
