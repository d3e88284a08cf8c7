"""What a loss per unit is, the ordinary one of classes, and the registry of those that a run may choose."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, get_args

import torch
from torch import Tensor

from metaweight.core.contracts import Target, Units
from metaweight.core.options import checked_options, options_of
from metaweight.core.reads import doubt
from metaweight.core.registry import Registry
from metaweight.student.losses.rows import cross_entropy_of_rows

UnitLoss = Callable[[Any, Tensor], "Tensor | tuple[Tensor, Tensor] | Units"]
"""(outputs, targets) -> loss [U], (loss [U], size [U]) or Units; the mean of loss is the ordinary loss.

The outputs are all that the module gives, or the logits among them where the loss is ``of_logits``."""
AnyLoss = TypeVar("AnyLoss", bound=Callable[..., Any])


def of_logits(loss: AnyLoss) -> AnyLoss:
    """Decorator of a loss, or of a class of losses, that takes the logits alone, a tensor."""
    setattr(loss, "takes_logits", True)  # noqa: B010  # an attribute of a function, which has no type
    return loss


def takes_logits(loss: UnitLoss) -> bool:
    """Whether ``loss`` says of itself that it takes the logits alone; a user's own sees the whole output."""
    return bool(getattr(_behind(loss), "takes_logits", False))


def pooled(loss: AnyLoss) -> AnyLoss:
    """Decorator of a loss that gives ([U], sizes [U]) and is ``Units.pooled``."""
    setattr(loss, "pooled", True)  # noqa: B010  # an attribute of a function, which has no type
    return loss


def is_pooled(loss: UnitLoss) -> bool:
    """Whether ``loss`` says of itself that it is ``Units.pooled``."""
    return bool(getattr(_behind(loss), "pooled", False))


def of_targets(kind: Target) -> Callable[[AnyLoss], AnyLoss]:
    """Decorator of a loss, or of a class of losses, that says what its floating targets are.

    "number": they lie on the scale of the outputs; "soft": a distribution of classes for logits; "several":
    answers in 0..1, one for each logit.  What it does not say, no teacher guesses.  Raises ValueError for
    another kind.
    """
    if kind not in get_args(Target):
        raise ValueError(f"targets are of kind {', '.join(get_args(Target))}, got {kind!r}")

    def say(loss: AnyLoss) -> AnyLoss:
        setattr(loss, "targets", kind)  # noqa: B010  # an attribute of a function, which has no type
        return loss

    return say


def targets_of(loss: UnitLoss) -> Target | None:
    """What ``loss`` says of its targets (``of_targets``); None where it says nothing."""
    kind: Target | None = getattr(_behind(loss), "targets", None)
    return kind


def _behind(loss: UnitLoss) -> UnitLoss:
    return loss.func if isinstance(loss, partial) else loss


@of_logits
def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each sample: logits [U, C], labels [U] int64 -> [U] in nats.

    Raises TypeError for outputs that are no tensor and labels that are no integers, ValueError for another
    shape of labels and where one lies outside 0..C-1.
    """
    check_targets(outputs, targets)
    classes = outputs.shape[-1]
    if targets.device.type == "cpu":  # elsewhere the check would wait for the device at each step
        check_labels(targets, classes)
    return cross_entropy_of_rows(outputs, targets)


def check_targets(outputs: object, targets: Tensor) -> None:
    """Raise TypeError or ValueError unless ``outputs`` are logits and ``targets`` one class each."""
    require_logits(outputs)
    require_classes(targets, "[U]")
    if targets.dim() != 1:
        raise ValueError(_no_labels(targets, "[U]"))


def require_classes(targets: Tensor, shape: str) -> None:
    """Raise TypeError unless ``targets`` are whole numbers; ``shape`` says which shape they have."""
    if targets.dtype == torch.bool:
        raise TypeError(f"labels are int64 of shape {shape}, got torch.bool: write targets.long()")
    if targets.is_floating_point() or targets.is_complex():
        raise TypeError(_no_labels(targets, shape))


def _no_labels(targets: Tensor, shape: str) -> str:
    return (
        f"labels are int64 of shape {shape}, one class each, got {targets.dtype} of shape "
        f"{tuple(targets.shape)}; other targets have a loss of their own: "
        "metaweight.losses.soft_cross_entropy, binary_cross_entropy, squared_error, pixel_cross_entropy, "
        "token_cross_entropy, or one that you write"
    )


def require_logits(outputs: object) -> None:
    """Raise TypeError unless ``outputs`` are a tensor."""
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"the student gives {type(outputs).__name__} where logits [U, C] were expected: give the loss "
            "these alone, cross_entropy(outputs.logits, targets)"
        )


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise ValueError unless every label lies in 0..classes-1."""
    outside = (labels < 0) | (labels >= classes)

    def fail() -> None:
        wrong = outside.nonzero().flatten()
        at = ", ".join(f"{int(labels[i])} at position {int(i)}" for i in wrong[:3])
        raise ValueError(
            f"labels run from 0 to {classes - 1}, got {at} ({len(wrong)} in all); "
            "map the labels to 0..C-1, or give the student more outputs"
        )

    doubt(outside.any(), fail)


losses: Registry[Callable[..., UnitLoss]] = Registry("loss")
"""Losses of classes: logits [U, C], labels [U] -> [U]; each is built from its options."""


@losses.register("cross-entropy")
def plain() -> UnitLoss:
    """The cross-entropy of each sample."""
    return cross_entropy


def loss_options(name: str) -> dict[str, Any]:
    """Option -> default of the loss ``name``."""
    return options_of(losses[name])


def build_loss(name: str, **options: Any) -> UnitLoss:
    """The loss ``name``.

    Raises KeyError for an unknown one and TypeError for an unknown option, with the nearest names, or one of
    another type, ValueError for an option out of range.
    """
    build = losses[name]
    return build(**checked_options(f"loss {name!r}", build, options))
