"""What a loss per unit is, the ordinary one of classes, and the registry of those that a run may choose."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from metaweight.contracts import Units
from metaweight.registry import Registry, require_options

UnitLoss = Callable[[Any, Tensor], "Tensor | tuple[Tensor, Tensor] | Units"]
"""(outputs, targets) -> loss [U], (loss [U], size [U]) or Units; the mean of loss is the ordinary loss."""


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each sample: logits [U, C], labels [U] int64 -> [U] in nats.

    Raises ValueError where a label lies outside 0..C-1.
    """
    classes = outputs.shape[-1]
    if targets.device.type == "cpu":  # elsewhere the check would wait for the device at each step
        check_labels(targets, classes)
    return F.cross_entropy(outputs, targets, reduction="none")


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise ValueError unless every label lies in 0..classes-1."""
    wrong = ((labels < 0) | (labels >= classes)).nonzero().flatten()
    if len(wrong):
        at = ", ".join(f"{int(labels[i])} at position {int(i)}" for i in wrong[:3])
        raise ValueError(
            f"labels run from 0 to {classes - 1}, got {at} ({len(wrong)} in all); "
            "map the labels to 0..C-1, or give the student more outputs"
        )


losses: Registry[Callable[..., UnitLoss]] = Registry("loss")
"""Losses of classes: logits [U, C], labels [U] -> [U]; each is built from its options."""


@losses.register("cross-entropy")
def plain() -> UnitLoss:
    """The cross-entropy of each sample."""
    return cross_entropy


def loss_options(name: str) -> dict[str, Any]:
    """Option -> default of the loss ``name``."""
    return {key: p.default for key, p in inspect.signature(losses[name]).parameters.items()}


def build_loss(name: str, **options: Any) -> UnitLoss:
    """The loss ``name``.

    Raises KeyError for an unknown one and TypeError for an unknown option, with the nearest names, ValueError
    for an option out of range.
    """
    require_options(f"loss {name!r}", options, loss_options(name))
    return losses[name](**options)
