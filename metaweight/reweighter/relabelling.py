"""Labels that move: a step is taken on what the teacher suggests too, beside what samples are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from metaweight.core.contracts import Forward, StudentState, Suggestion
from metaweight.core.randomness import RandomState, forked_rng
from metaweight.engines.checks import require_finite, require_finite_losses
from metaweight.engines.one_step import joined
from metaweight.student.moving import Buffers
from metaweight.student.student import Student
from metaweight.teachers.base import Teacher


@dataclass(frozen=True)
class Moved:
    """What labels that move add to one step; nothing as it stands."""

    gradient: Mapping[str, Tensor] = field(default_factory=dict)
    """By parameter name, of mean(share * loss under the suggested label) over the joined batch."""
    share: Tensor | None = None
    """The mean share, a single number; None where no labels move."""


NOTHING = Moved()


def moved_by(
    student: Student,
    teacher: Teacher,
    state: StudentState,
    forward: Forward,
    buffers: Mapping[str, Tensor],
    random: RandomState,
) -> Moved:
    """What the labels that ``teacher`` suggests add to the step on ``forward``, the train pass at hand.

    The step's loss is mean(w * loss) + mean(share * loss under the suggested label), w being the weights.
    The share does not depend on the teacher's parameters: to the meta-gradient of w the second mean is a
    constant of the inner step, as gradients of earlier micro-batches are, and every engine that ``gathers``
    takes it so.  It stays the same in the virtual and in the real step, while w is learnt in between.
    Its gradient comes of a pass of its own with the masks of the train pass: ``buffers`` and ``random`` are
    from before that one, and nothing live is moved.
    """
    with torch.no_grad():
        suggestion = checked(teacher.suggest(state), state)
    part, gradient = forward.part, dict[str, Tensor]()
    labels, share = part.own(suggestion.labels), part.own(suggestion.share)

    def backward(other: Forward) -> None:
        require_finite_losses("loss under suggested labels", other)
        gradient.update(joined(student, other, (share * other.loss).mean(), student.parameters()))

    with forked_rng(student.device):
        random.restore(student.device)
        batch = replace(forward.batch, targets=labels)
        student.functional(batch, {}, Buffers(buffers), taps=False, then=backward)
    return Moved(gradient, suggestion.share.mean())


def checked(suggestion: Suggestion, state: StudentState) -> Suggestion:
    """``suggestion`` if it fits the batch of ``state``.

    Raises ValueError for other shapes and types, NonFiniteError for a share that is NaN.
    """
    size = tuple(state.loss.shape)
    for name in ("labels", "share"):
        shape = tuple(getattr(suggestion, name).shape)
        if shape != size:
            raise ValueError(f"a suggestion's {name} has one number a unit, shape {size}, got {shape}")
    if suggestion.labels.dtype != torch.int64:
        raise ValueError(f"a suggestion's labels are int64, got {suggestion.labels.dtype}")
    share = suggestion.share.detach().to(state.loss)
    require_finite("share of the suggested label", share, state.index)
    return replace(suggestion, share=share)
