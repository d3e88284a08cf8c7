"""The loss of a student whose training labels come through a known transition matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.student.losses.base import check_labels, of_logits, require_classes


@of_logits
class ForwardCorrection:
    """-log Σ_i p_i T[i, y]: cross-entropy of the given label y, p being the student's clean classes.

    ``transition`` [C, C]: row i is the distribution of given labels in class i.  Logits [U, C], labels [U]
    int64 -> [U] in nats.  Patrini et al. (2017), forward.
    Difference to the paper: an entry of 0 counts as the smallest number of the logits' type, so that a label
    which the matrix excludes costs much but not infinitely much.
    Raises ValueError for a matrix that is not square, not finite, or whose rows are no distributions.
    """

    def __init__(self, transition: Tensor) -> None:
        if transition.dim() != 2 or transition.shape[0] != transition.shape[1] or not len(transition):
            raise ValueError(f"a transition matrix has shape [C, C], got {tuple(transition.shape)}")
        rows = transition.detach().double()
        if not bool(rows.isfinite().all()) or bool((rows < 0).any()):
            raise ValueError("a transition matrix has entries of 0 or more, got a negative or infinite one")
        wrong = ((rows.sum(dim=1) - 1).abs() > 1e-5).nonzero().flatten()
        if len(wrong):
            row = int(wrong[0])
            total = float(rows[row].sum())
            raise ValueError(f"rows of a transition matrix sum to 1, row {row} to {total:.6g}")
        self.transition = rows

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of each sample [U]."""
        classes = len(self.transition)
        if outputs.shape[-1] != classes:
            raise ValueError(f"a transition matrix of {classes} classes, logits of {outputs.shape[-1]}")
        require_classes(targets, "[U]")
        if targets.device.type == "cpu":
            check_labels(targets, classes)
        # log p + log T, summed as logarithms: products of small probabilities would vanish in float32
        log_t = self.transition.to(outputs).clamp_min(torch.finfo(outputs.dtype).tiny).log()
        return -(outputs.log_softmax(dim=-1) + log_t.t()[targets]).logsumexp(dim=-1)
