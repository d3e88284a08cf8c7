"""What teachers read off outputs, unit by unit: nothing of the outputs' size is left of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metaweight.core.contracts import StudentState, Target
from metaweight.core.pieces import is_large, pieces
from metaweight.teachers.inputs import label_log_probability, margin_to_best_other


class Reading(NamedTuple):
    """What outputs say of labels [...], each [...]."""

    log_p: Tensor
    """Log-probability of the label."""
    margin: Tensor
    """p_y - max_{k != y} p_k."""
    entropy: Tensor
    """Of p, / log C."""


def reading(outputs: Tensor, labels: Tensor, dtype: torch.dtype) -> Reading:
    """Of outputs [..., C] and labels [...], in ``dtype``."""

    def read(outputs: Tensor, labels: Tensor) -> Tensor:
        log_p = F.log_softmax(outputs.to(dtype), dim=-1)
        p = log_p.exp()
        entropy = -(p * log_p).sum(dim=-1) / math.log(p.shape[-1])
        values = label_log_probability(log_p, labels), margin_to_best_other(p, labels), entropy
        return torch.stack(values, dim=-1)

    return Reading(*by_rows(read, outputs, labels).unbind(dim=-1))


def label_reading(outputs: Tensor, labels: Tensor, dtype: torch.dtype) -> Tensor:
    """Log-probability of the given label, in ``dtype``: [..., C], [...] -> [...]."""

    def read(outputs: Tensor, labels: Tensor) -> Tensor:
        return label_log_probability(F.log_softmax(outputs.to(dtype), dim=-1), labels)

    return by_rows(read, outputs, labels)


def likelier_than_expected(outputs: Tensor, labels: Tensor, dtype: torch.dtype) -> Tensor:
    """log p_y plus the entropy of p, 0 in the mean over labels drawn from p: [..., C], [...] -> [...]."""

    def read(outputs: Tensor, labels: Tensor) -> Tensor:
        log_p = F.log_softmax(outputs.to(dtype), dim=-1)
        return label_log_probability(log_p, labels) - (log_p.exp() * log_p).sum(dim=-1)

    return by_rows(read, outputs, labels)


def output_log_probabilities(state: StudentState, dtype: torch.dtype, target: Target = "class") -> Tensor:
    """log softmax of the outputs, in ``dtype``: [U, C] or [U, T, V]; of several answers log p of each yes."""
    outputs = state.outputs.to(dtype)
    return F.logsigmoid(outputs) if target == "several" else F.log_softmax(outputs, dim=-1)


def by_rows(read: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, labels: Tensor) -> Tensor:
    """``read(outputs, labels)`` [..., *], given [..., C] and [...]; of many rows, some at a time."""
    if not is_large(outputs.numel()):
        return read(outputs, labels)
    rows, told = outputs.flatten(0, -2), labels.flatten()
    found = torch.cat([read(rows[piece], told[piece]) for piece in pieces(len(rows), rows)])
    return found.view(*labels.shape, *found.shape[1:])
