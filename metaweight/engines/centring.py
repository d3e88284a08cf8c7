"""How a hypergradient dL_meta/dw is centred before the teacher gets it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from metaweight.core.contracts import Center, StudentState
from metaweight.core.weights import group_means, groups_of

Scale = Callable[[StudentState], Tensor | None]
"""What the slopes of a state's units are divided by, [U] >= 0; None: by nothing."""


def checked_center(center: Center) -> Center:
    """``center`` if it is True, False or "class".  Raises ValueError otherwise."""
    if not isinstance(center, bool) and center != "class":
        raise ValueError(f"center is True, False or 'class', got {center!r}")
    return center


def steered(slopes: Tensor, weights: Tensor, center: Center, anchor: float, targets: Tensor) -> Tensor:
    """dL/dw [U] as the teacher gets it: centred, with a pull of mean weights to 1.

    What all units have in common is the learning rate's business, and what all of one given class have in
    common is its balance, which the student's last steps swing to and fro: a teacher would follow these
    swings.  ``center="class"`` leaves what tells the units of one given class ``targets`` [U] apart; a
    unit alone in its class has a slope of 0.  Raises ValueError where ``targets`` are no classes [U].
    """
    if not center:
        return slopes
    mean = _mean_of_class(targets, len(slopes)) if center == "class" else Tensor.mean
    centred = slopes - mean(slopes)
    # centring leaves the mean weights free to drift; at 0 nothing is learned any more, at 2 nothing selected
    return centred + anchor * centred.square().mean().sqrt() * (mean(weights) - 1)


def unscaled(slopes: Tensor, scale: Tensor | None) -> Tensor:
    """dL/dw [U] divided by ``scale`` [U] >= 0, and 0 where that is 0."""
    if scale is None:
        return slopes
    scale, zero = scale.to(slopes), slopes.new_zeros(())
    return (slopes / scale.where(scale > 0, torch.ones_like(scale))).where(scale > 0, zero)


def _mean_of_class(targets: Tensor, units: int) -> Callable[[Tensor], Tensor]:
    """Values [U] -> for each of them the mean over the units of its class, [U]."""
    if targets.shape != (units,) or targets.is_floating_point():
        got = f"{targets.dtype} of shape {tuple(targets.shape)} for {units} units"
        raise ValueError(f"center='class' needs the one class label of each unit, got targets {got}")
    group = groups_of(targets)
    # as many groups as there may be: to count them would wait for the device
    return lambda values: group_means(values, group, units)[group]
