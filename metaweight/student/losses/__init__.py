"""Losses per unit: what gets a weight has a loss of its own."""

from metaweight.student.losses.base import (
    UnitLoss,
    build_loss,
    check_labels,
    cross_entropy,
    loss_options,
    losses,
    of_logits,
    of_targets,
)
from metaweight.student.losses.correction import ForwardCorrection
from metaweight.student.losses.robust import (
    BootstrapHard,
    BootstrapSoft,
    GeneralisedCrossEntropy,
    LabelSmoothing,
)
from metaweight.student.losses.targets import (
    PixelCrossEntropy,
    binary_cross_entropy,
    pixel_cross_entropy,
    soft_cross_entropy,
    squared_error,
)
from metaweight.student.losses.text import TextUnit, TokenCrossEntropy, real_tokens, token_cross_entropy

__all__ = [
    "BootstrapHard",
    "BootstrapSoft",
    "ForwardCorrection",
    "GeneralisedCrossEntropy",
    "LabelSmoothing",
    "PixelCrossEntropy",
    "TextUnit",
    "TokenCrossEntropy",
    "UnitLoss",
    "binary_cross_entropy",
    "build_loss",
    "check_labels",
    "cross_entropy",
    "loss_options",
    "losses",
    "of_logits",
    "of_targets",
    "pixel_cross_entropy",
    "real_tokens",
    "soft_cross_entropy",
    "squared_error",
    "token_cross_entropy",
]
