"""Soft labels and answers to yes-or-no questions: what the student, or trusted neighbours, say of them.

Each generalises what is read of one class label: it is the same for a distribution that is all in one class,
and for one question the same as for two classes, up to columns that come after.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from metaweight.core.contracts import StudentState
from metaweight.teachers.inputs import average_rank, in_columns, scaled_log, scaled_loss
from metaweight.teachers.readings import output_log_probabilities

SOFT_SCALARS = 6
SEVERAL_SCALARS = 8


def soft_scalars(state: StudentState, dtype: torch.dtype) -> Tensor:
    """What the outputs say of soft labels [U, C], scaled to about [-1, 1]: [U, SOFT_SCALARS].

    ``class_scalars`` in the mean over the label's classes, and the label's own entropy / log C.
    """
    given, loss = in_columns(state.targets, dtype), state.loss.to(dtype)
    log_p = output_log_probabilities(state, dtype)
    p, classes = log_p.exp(), log_p.shape[1]
    columns = [
        scaled_loss(loss, classes),
        scaled_log((given * log_p).sum(dim=1), classes),
        expected_margin(p, given),
        -(p * log_p).sum(dim=1) / math.log(classes),
        average_rank(loss, state.among),
        -torch.xlogy(given, given).sum(dim=1) / math.log(classes),
    ]
    return torch.stack(columns, dim=1)


def several_scalars(state: StudentState, dtype: torch.dtype) -> Tensor:
    """What the outputs say of L given answers in 0..1, scaled to about [-1, 1]: [U, SEVERAL_SCALARS].

    ``class_scalars`` of yes and no in the mean over the questions; the least margin; how far the surest
    denied yes and the surest denied no are denied.
    """
    given, loss = in_columns(state.targets, dtype), state.loss.to(dtype)
    log_yes = output_log_probabilities(state, dtype, "several")
    log_no = F.logsigmoid(-state.outputs.to(dtype))
    yes, no = log_yes.exp(), log_no.exp()
    margin = (given * yes + (1 - given) * no) - (given * no + (1 - given) * yes)
    columns = [
        scaled_loss(loss, 2),
        scaled_log((given * log_yes + (1 - given) * log_no).mean(dim=1), 2),
        margin.mean(dim=1),
        -(yes * log_yes + no * log_no).mean(dim=1) / math.log(2),
        average_rank(loss, state.among),
        margin.amin(dim=1),
        (given * no).amax(dim=1),
        ((1 - given) * yes).amax(dim=1),
    ]
    return torch.stack(columns, dim=1)


def soft_agreement(q: Tensor, given: Tensor) -> Tensor:
    """``label_agreement`` in the mean over a soft label's classes: q and labels [U, C] -> [U, 4]."""
    classes = q.shape[1]
    # the floor keeps log and its slope finite where no trusted sample carries the label
    log_q = q.clamp_min(float(classes) ** -4).log()
    agrees, log_agrees = (given * q).sum(dim=1), (given * log_q).sum(dim=1)
    entropy = -(q * log_q).sum(dim=1) / math.log(classes)
    return torch.stack([agrees, expected_margin(q, given), scaled_log(log_agrees, classes), entropy], dim=1)


def several_agreement(q: Tensor, given: Tensor) -> Tensor:
    """Of L answers and the share q of yes that trusted neighbours give: both [U, L] -> [U, 4].

    The mean share that gives the same answer, the least margin of it, its mean logarithm scaled, the mean
    entropy / log 2.
    """
    log_yes, log_no = (share.clamp_min(2.0**-4).log() for share in (q, 1 - q))
    agrees = given * q + (1 - given) * (1 - q)
    log_agrees = (given * log_yes + (1 - given) * log_no).mean(dim=1)
    entropy = -(q * log_yes + (1 - q) * log_no).mean(dim=1) / math.log(2)
    columns = [agrees.mean(dim=1), (2 * agrees - 1).amin(dim=1), scaled_log(log_agrees, 2), entropy]
    return torch.stack(columns, dim=1)


def expected_margin(p: Tensor, given: Tensor) -> Tensor:
    """Mean of p_c - max_{k != c} p_k over classes c ~ ``given``: both [U, C] -> [U]."""
    best, at = p.topk(2, dim=1)
    is_best = torch.arange(p.shape[1], device=p.device) == at[:, :1]
    other = best[:, 1:].where(is_best, best[:, :1])
    return (given * (p - other)).sum(dim=1)
