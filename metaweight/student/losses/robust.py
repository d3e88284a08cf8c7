"""Losses of classes that bear wrong labels: logits [U, C], labels [U] int64 -> [U]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metaweight.student.losses.base import cross_entropy, losses, of_logits
from metaweight.student.losses.rows import cross_entropy_of_rows


def require_share(name: str, value: float) -> None:
    """Raise ValueError unless the option ``name`` is a number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} lies in [0, 1], got {value!r}")


@losses.register("gce")
@of_logits
@dataclass(frozen=True)
class GeneralisedCrossEntropy:
    """(1 - p_y^q) / q, between cross-entropy (``q`` = 0) and 1 - p_y (``q`` = 1).

    Zhang & Sabuncu (2018), without their truncation.  Raises ValueError for a q outside [0, 1].
    """

    q: float = 0.7

    def __post_init__(self) -> None:
        require_share("q of gce", self.q)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each sample [U]."""
        surprise = cross_entropy(outputs, targets)
        # p^q - 1 from log p: near p = 1 and for small q the difference itself would cancel
        return -torch.expm1(-self.q * surprise) / self.q if self.q else surprise


@losses.register("bootstrap-soft")
@of_logits
@dataclass(frozen=True)
class BootstrapSoft:
    """-Σ_k (beta t_k + (1 - beta) p_k) log p_k: the label t mixed with what the student says itself.

    The gradient goes through both p.  Reed et al. (2015), soft.  Raises ValueError for a beta outside [0, 1].
    """

    beta: float = 0.95

    def __post_init__(self) -> None:
        require_share("beta of bootstrap-soft", self.beta)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each sample [U]."""
        log_p = outputs.log_softmax(dim=-1)
        entropy = -(log_p.exp() * log_p).sum(dim=-1)
        return self.beta * cross_entropy(outputs, targets) + (1 - self.beta) * entropy


@losses.register("bootstrap-hard")
@of_logits
@dataclass(frozen=True)
class BootstrapHard:
    """-Σ_k (beta t_k + (1 - beta) z_k) log p_k, z the student's most probable class, a constant.

    Reed et al. (2015), hard.  Raises ValueError for a beta outside [0, 1].
    """

    beta: float = 0.8

    def __post_init__(self) -> None:
        require_share("beta of bootstrap-hard", self.beta)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each sample [U]."""
        own = outputs.detach().argmax(dim=-1)
        label_loss = cross_entropy(outputs, targets)
        return self.beta * label_loss + (1 - self.beta) * cross_entropy_of_rows(outputs, own)


@losses.register("label-smoothing")
@of_logits
@dataclass(frozen=True)
class LabelSmoothing:
    """Cross-entropy with a share ``smoothing`` of the label spread over all classes.  Szegedy et al. (2016).

    Raises ValueError for a smoothing outside [0, 1].
    """

    smoothing: float = 0.1

    def __post_init__(self) -> None:
        require_share("smoothing of label-smoothing", self.smoothing)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each sample [U]."""
        spread = -outputs.log_softmax(dim=-1).mean(dim=-1)
        return (1 - self.smoothing) * cross_entropy(outputs, targets) + self.smoothing * spread
