"""Losses per unit: what gets a weight has a loss of its own."""

from metaweight.student.losses.base import (
    UnitLoss,
    build_loss,
    check_labels,
    cross_entropy,
    loss_options,
    losses,
)
from metaweight.student.losses.correction import ForwardCorrection
from metaweight.student.losses.robust import (
    BootstrapHard,
    BootstrapSoft,
    GeneralisedCrossEntropy,
    LabelSmoothing,
)
from metaweight.student.losses.text import TextUnit, TokenCrossEntropy, real_tokens, token_cross_entropy

__all__ = [
    "BootstrapHard",
    "BootstrapSoft",
    "ForwardCorrection",
    "GeneralisedCrossEntropy",
    "LabelSmoothing",
    "TextUnit",
    "TokenCrossEntropy",
    "UnitLoss",
    "build_loss",
    "check_labels",
    "cross_entropy",
    "loss_options",
    "losses",
    "real_tokens",
    "token_cross_entropy",
]
