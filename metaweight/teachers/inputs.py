"""What teachers read off a StudentState: labels, probabilities, scaled losses, ranks, hidden states."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState, Target
from metaweight.core.registry import did_you_mean

WITHOUT_LABELS = "'mw-net' and 'l2rw' do without"
READ: Mapping[Target, str] = {
    "class": "class labels",
    "soft": "soft labels",
    "several": "answers to yes-or-no questions",
    "number": "numbers",
}
"""What teachers can read of targets, beside their loss."""


def class_labels(state: StudentState) -> Tensor:
    """The given class labels [U] of a state with logits [U, C].

    Raises ValueError where a unit has more than one label or logit row, as a sentence has, and where targets
    are real numbers, which would be taken for labels.
    """
    floating = state.targets.is_floating_point() or state.targets.is_complex()
    if floating or state.targets.dim() != 1 or state.outputs.dim() != 2:
        raise ValueError(
            "this teacher reads one class label [U] and one row of logits [U, C] a unit, got targets "
            f"{tuple(state.targets.shape)} and outputs {tuple(state.outputs.shape)}, targets of "
            f"{state.targets.dtype}; {WITHOUT_LABELS}"
        )
    return state.targets


def require_target(spec: StateSpec, teacher: str, *kinds: Target) -> None:
    """Raise ValueError, in words, unless a unit's target is one of ``kinds``."""
    if spec.target in kinds:
        return
    reads = ", ".join(READ[kind] for kind in kinds)
    if spec.target == "other":
        raise ValueError(
            f"{teacher} reads {reads}, and this student's targets are none that is known: labels for each "
            "pixel, places in the batch, as a contrastive loss has them, or those of a loss of your own that "
            f'does not say what they are, @metaweight.losses.of_targets("number"); {WITHOUT_LABELS}'
        )
    raise ValueError(
        f"{teacher} reads {reads}, and this student's targets are {READ[spec.target]}: 'memory' reads these, "
        f"{WITHOUT_LABELS}"
    )


def require_outputs(spec: StateSpec, teacher: str, *kinds: Target) -> None:
    """Raise ValueError unless targets are of ``kinds``, and there are outputs to hold against them."""
    require_target(spec, teacher, *kinds)
    least = 2 if spec.target in ("class", "soft") else 1
    if spec.classes < least:
        got = "the student gives no logits" if spec.classes == 0 else f"got {spec.classes}"
        where = '; name them, Student(..., logits="name")' if spec.classes == 0 else ""
        raise ValueError(f"{teacher} needs logits of 2 classes or more, {got}{where}; {WITHOUT_LABELS}")


def require_one_label(spec: StateSpec, teacher: str, *others: Target) -> None:
    """Raise ValueError where a unit has no class of its own, as a sentence, nor one of ``others``."""
    require_outputs(spec, f"teacher {teacher!r}", "class", *others)
    if spec.sentences:
        raise ValueError(
            f"teacher {teacher!r} reads one class label a unit, which a sentence has not: "
            "take tokens as units, or another teacher"
        )


def unit_loss(state: StudentState) -> Tensor:
    """The loss [U] per target token, on the batch's scale: a long sentence is not a hard one.

    The loss itself where every unit has one target.
    """
    return state.loss * (state.size.mean() / state.size.clamp_min(1))


def label_log_probability(log_p: Tensor, labels: Tensor) -> Tensor:
    """Log-probability of the given label: [..., C], [...] -> [...]."""
    return log_p.gather(-1, labels[..., None]).squeeze(-1)


def in_columns(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Targets [U] or [U, D] as [U, D] of type ``dtype``."""
    return (values[:, None] if values.dim() == 1 else values).to(dtype)


def residuals(state: StudentState, dtype: torch.dtype) -> Tensor:
    """Given numbers less what the student says: [U, D]."""
    return in_columns(state.targets, dtype) - state.outputs.to(dtype)


def residual_size(state: StudentState) -> Tensor:
    """Root mean square of a unit's residuals, and a twentieth of the batch's median beside it: [U].

    A loss of numbers has a slope that grows with the residual, so that of a sample says first of all how far
    off it is; divided by this it says whether the sample helps.
    """
    size = residuals(state, state.loss.dtype).square().mean(dim=1).sqrt()
    return size + 0.05 * size.quantile(0.5)


def margin_to_best_other(p: Tensor, labels: Tensor) -> Tensor:
    """p_y - max_{k != y} p_k in [-1, 1]: [..., C], [...] -> [...]."""
    columns = labels[..., None]
    return (p.gather(-1, columns) - p.scatter(-1, columns, -1).amax(dim=-1, keepdim=True)).squeeze(-1)


def scaled_loss(loss: Tensor, classes: int) -> Tensor:
    """log(1 + loss) scaled: -1 at loss 0, 0 at chance level (log C); any shape.

    About 7 at loss 1e4 and C = 10.  Less than two classes (a regression) scale as two.
    """
    # a custom loss may be negative, where log1p alone would give NaN
    return loss.sign() * loss.abs().log1p() / math.log1p(math.log(max(classes, 2))) - 1


def scaled_log(log_p: Tensor, classes: int) -> Tensor:
    """Log-probabilities scaled: 1 at p = 1, 0 at chance level 1/C, -3 at p <= C^-4; any shape."""
    return (1 + log_p / math.log(classes)).clamp_min(-3)


def average_rank(values: Tensor, among: Tensor | None = None) -> Tensor:
    """Rank of each value within the batch, [U] -> [U] in [-1, 1]; ties share their mean rank.

    The least value has -1, the greatest 1; a batch of one has 0.  ``among`` [N]: all values, of which the
    batch has a part.
    """
    ascending = (values if among is None else among.to(values)).sort().values
    if len(ascending) == 1:
        return torch.zeros_like(values)
    below = torch.searchsorted(ascending, values)
    up_to = torch.searchsorted(ascending, values, right=True)
    return (below + up_to - 1).to(values.dtype) / (len(ascending) - 1) - 1


def required_taps(spec: StateSpec, teacher: str) -> dict[str, int]:
    """Tap name -> width for a teacher that cannot do without.  Raises ValueError where there is none."""
    if not spec.features:
        raise ValueError(
            f"teacher {teacher!r} reads hidden states, but the student has no tap; "
            "name one or more submodules: Student(module, taps=('layer3',))"
        )
    return dict(spec.features)


def last_tap(spec: StateSpec, teacher: str) -> tuple[str, int]:
    """Name and width of the deepest tap.  Raises ValueError where there is none."""
    return list(required_taps(spec, teacher).items())[-1]


def deepest_taps(spec: StateSpec, teacher: str, layers: int) -> dict[str, int]:
    """Tap name -> width of the ``layers`` deepest taps, the deepest first; 0: of all.

    Raises ValueError where there are fewer.
    """
    taps = list(required_taps(spec, teacher).items())
    if not 0 <= layers <= len(taps):
        raise ValueError(f"layers is 0 (all) to {len(taps)}, the student's taps, got {layers}")
    return dict(reversed(taps[-layers:]))


def hidden(state: StudentState, tap: str) -> Tensor:
    """The hidden states [U, D] of a tap.  Raises KeyError where this student does not have it."""
    if tap not in state.features:
        raise KeyError(
            f"the teacher was built for a student with tap {tap!r}.{did_you_mean(tap, state.features)} "
            "Build the teacher from this student's spec"
        )
    return state.features[tap]


class HiddenProjection(nn.Module):
    """Normalises hidden states over their features and projects them: [U, D] -> [U, width]."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.linear = nn.Linear(features, width)

    def forward(self, states: Tensor) -> Tensor:
        """Project; dtype is that of the parameters."""
        projected: Tensor = self.linear(self.norm(states.to(self.linear.weight.dtype)))
        return projected


def of_others(values: Tensor, itself: Tensor | None, fill: float) -> Tensor:
    """``values`` [U, N] with ``fill`` where a unit is compared with itself; as they are where that is None.

    A unit that there is no other for, a word of the only sentence held, keeps them.
    """
    return values if itself is None else values.masked_fill(itself & ~itself.all(dim=1, keepdim=True), fill)


def even_parts(like: Tensor, itself: Tensor | None) -> Tensor:
    """Equal parts, in sum 1, for all that a unit is compared with but itself: as ``like`` [U, N]."""
    parts = of_others(torch.ones_like(like), itself, 0)
    return parts / parts.sum(dim=1, keepdim=True)
