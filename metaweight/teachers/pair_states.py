"""Sentence pairs against trusted ones: would the translations of similar sources be similar to this one?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.inputs import hidden, last_tap, of_others

PAIR_AGREEMENT = 4


def pair_taps(spec: StateSpec, teacher: str) -> tuple[str, str]:
    """The deepest tap over the source and the deepest one over the target.

    Raises ValueError where the student has not both.
    """
    target, _ = last_tap(spec, teacher)
    if not spec.source_taps or target in spec.source_taps:
        raise ValueError(
            f"teacher {teacher!r} compares sources and translations: give the student a tap in the encoder "
            f"and, last, one in the decoder, got {', '.join(spec.features)}"
        )
    return spec.source_taps[-1], target


def pair_states(state: StudentState, taps: tuple[str, str]) -> Tensor:
    """Source and target states of each pair side by side: [U, D_source + D_target]."""
    return torch.cat([hidden(state, tap) for tap in taps], dim=1)


def centred_unit(states: Tensor, centre: Tensor) -> Tensor:
    """States [N, D] less ``centre`` [D], scaled to length 1."""
    offsets = states - centre
    # the cosine is blind to scale, but the epsilon inside F.normalize is not
    peak = offsets.abs().amax(dim=1, keepdim=True)
    return F.normalize(offsets / peak.where(peak > 0, torch.ones_like(peak)), dim=1)


def centred_sides(
    states: Tensor, own: Tensor, width: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Both sides of trusted pairs [N, D] and of a batch's [U, D], less the trusted mean, at length 1.

    ``width``: columns of the source.  Gives (trusted sources, sources) and (trusted targets, targets).
    """
    centre = states.mean(dim=0)
    left, right = slice(None, width), slice(width, None)
    source, target = (
        (centred_unit(states[:, side], centre[side]), centred_unit(own[:, side], centre[side]))
        for side in (left, right)
    )
    return source, target


def pair_agreement(
    attention: Tensor, nearness: Tensor, own: Tensor, trusted: Tensor, itself: Tensor | None = None
) -> Tensor:
    """How well translations agree with those of the trusted sources attended to: [U, PAIR_AGREEMENT].

    ``attention`` [U, N], rows sum to 1; ``nearness`` [U, N], cosine of the sources; ``own`` [U, D] and
    ``trusted`` [N, D], target states of length 1.  The cosine with the attended mean; the attended mean of
    the cosines, and by how much it exceeds their plain mean; the greatest nearness of the sources.
    ``itself`` [U, N]: trusted pairs that are none for this unit, and have no attention.
    """
    cosines = own @ trusted.T
    attended = (attention * cosines).sum(dim=1)
    expected = F.normalize(attention @ trusted, dim=1)
    excess = attended - of_others(cosines, itself, torch.nan).nanmean(dim=1)
    nearest = of_others(nearness, itself, -1).amax(dim=1)
    return torch.stack([(own * expected).sum(dim=1), attended, excess, nearest], dim=1)
