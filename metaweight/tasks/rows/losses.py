"""The loss of each kind of target."""

from __future__ import annotations

from collections.abc import Mapping

from metaweight.student.losses import UnitLoss, binary_cross_entropy, cross_entropy, squared_error

LOSSES: Mapping[str, UnitLoss] = {
    "classes": cross_entropy,
    "one-logit": binary_cross_entropy,
    "number": squared_error,
    "several": binary_cross_entropy,
}
