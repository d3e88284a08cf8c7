"""What teachers read off a state whose units are sentences: the student's view of each target token."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.inputs import (
    average_rank,
    class_labels,
    in_columns,
    scaled_log,
    scaled_loss,
    unit_loss,
)
from metaweight.teachers.numbers import NumberScale
from metaweight.teachers.readings import label_reading, likelier_than_expected, reading

SENTENCE_SCALARS = 11
CLASS_SCALARS = 5


def sentence_targets(state: StudentState) -> tuple[Tensor, Tensor]:
    """Target tokens [U, T], 0 in padding, and which of them are real [U, T] bool.

    Raises ValueError for other units.
    """
    if state.real is None or state.outputs.dim() != 3:
        raise ValueError(
            f"this teacher was built for sentences, got targets {tuple(state.targets.shape)}: "
            "build it from this student's spec"
        )
    # padding need not be a word: -100 is usual, and no row of an embedding
    return state.targets.masked_fill(~state.real, 0), state.real


def class_scalars(state: StudentState, dtype: torch.dtype) -> Tensor:
    """What the outputs say of one class label a unit, scaled to about [-1, 1]: [U, CLASS_SCALARS].

    The loss, log p_y, the margin p_y - max_{k != y} p_k, the entropy of p / log C, the loss's rank.
    """
    labels, outputs, loss = class_labels(state), state.outputs, state.loss.to(dtype)
    classes, said = outputs.shape[-1], reading(outputs, labels, dtype)
    columns = [
        scaled_loss(loss, classes),
        scaled_log(said.log_p, classes),
        said.margin,
        said.entropy,
        average_rank(loss, state.among),
    ]
    return torch.stack(columns, dim=1)


def sentence_scalars(state: StudentState, dtype: torch.dtype) -> Tensor:
    """What the outputs say of a sentence, scaled to about [-1, 1]: [U, SENTENCE_SCALARS].

    The loss per token and its rank; log p_y of the mean, the worst, the first and the last token (an end
    that comes too early or too late shows there alone); the mean margin and entropy; the share of tokens
    that the student would have chosen; the length, and its ratio to the source's, in logarithms.
    """
    targets, real = sentence_targets(state)
    classes, size = state.outputs.shape[-1], state.size.to(dtype)
    loss = unit_loss(state).to(dtype)
    log_p, margin, entropy = reading(state.outputs, targets, dtype)
    log_y = scaled_log(log_p, classes)
    first = real.int().argmax(dim=1, keepdim=True)
    last = real.shape[1] - 1 - real.flip(1).int().argmax(dim=1, keepdim=True)
    columns = [
        scaled_loss(loss, classes),
        average_rank(loss, state.among),
        _mean(log_y, real),
        log_y.where(real, log_y.new_tensor(math.inf)).amin(dim=1),
        log_y.gather(1, first).squeeze(1),
        log_y.gather(1, last).squeeze(1),
        _mean(margin, real),
        _mean(entropy, real),
        2 * _mean((margin > 0).to(dtype), real) - 1,
        0.5 * size.log() - 1,
        _log_ratio(state, size),
    ]
    return torch.stack(columns, dim=1)


class LabelEmbedding(nn.Embedding):
    """What a unit is told as a vector.

    Of a class its own, of a sentence the mean over its real tokens, of a soft label the mean over classes; of
    several answers the sum of each question's own, with the answer's sign; of numbers a learnt line.
    """

    def __init__(self, spec: StateSpec, width: int) -> None:
        super().__init__(label_rows(spec), width)
        self.sentences, self.target = spec.sentences, spec.target

    def of(self, state: StudentState, numbers: NumberScale | None = None) -> Tensor:
        """[U, width]; ``numbers``: the scale of the given ones, where these are numbers."""
        if self.sentences:
            targets, real = sentence_targets(state)
            return _mean(self(targets), real)
        if self.target == "class":
            vectors: Tensor = self(class_labels(state))
            return vectors
        if numbers is not None:
            given = numbers.standardised(state)
            return given @ self.weight[1:] + self.weight[0]
        given = in_columns(state.targets, self.weight.dtype)
        if self.target == "several":
            given = (2 * given - 1) / math.sqrt(given.shape[1])
        return given @ self.weight


def label_rows(spec: StateSpec) -> int:
    """Rows of ``LabelEmbedding``."""
    return spec.classes + (spec.target == "number")


def sentence_log_probability(state: StudentState) -> Tensor:
    """Mean log p_y over a sentence's tokens, the logarithm of the geometric mean: [U] <= 0."""
    targets, real = sentence_targets(state)
    return _mean(label_reading(state.outputs, targets, state.loss.dtype), real)


def sentence_surplus(state: StudentState, bound: float) -> Tensor:
    """Mean of ``likelier_than_expected`` within +-``bound`` over a sentence's real tokens: [U]."""
    targets, real = sentence_targets(state)
    surplus = likelier_than_expected(state.outputs, targets, state.loss.dtype)
    return _mean(surplus.clamp(-bound, bound), real)


def _mean(values: Tensor, real: Tensor) -> Tensor:
    """Mean over a sentence's real tokens: [U, T, ...] -> [U, ...]."""
    mask = real if values.dim() == 2 else real[..., None]
    return values.where(mask, values.new_zeros(())).sum(dim=1) / real.sum(dim=1).clamp_min(1).view(
        -1, *[1] * (values.dim() - 2)
    )


def _log_ratio(state: StudentState, size: Tensor) -> Tensor:
    """log(target length / source length) in [-2, 2]; 0 where no tap tells the source's length."""
    if not state.lengths:
        return torch.zeros_like(size)
    source = next(iter(state.lengths.values())).to(size)
    return (size / source.clamp_min(1)).log().clamp(-2, 2)
