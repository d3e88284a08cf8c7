"""Teachers that see the loss alone: MW-Net, and its class-aware successor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.base import Normalize, Teacher, register_teacher
from metaweight.teachers.fixed import checked_counts
from metaweight.teachers.head import WeightHead
from metaweight.teachers.inputs import class_labels, require_one_label, scaled_loss, unit_loss


@register_teacher("mw-net")
class MWNet(Teacher):
    """An MLP with one hidden layer on the loss of the sample: 1-100-1.  Shu et al. (2019).

    Differences to the paper: (1) the loss enters as log(1 + loss), scaled (``scaled_loss``): raw losses
    of 1e4 would saturate the sigmoid; (2) the weight is 2 * sigmoid with a zero output layer, so that it
    starts at 1; (3) ``normalize="batch"`` by default: seeing the loss alone, the un-normalised teacher
    raises all weights to their ceiling, that is, it learns the learning rate.  "none" is the paper's.
    """

    sees = "loss"

    def __init__(self, spec: StateSpec, *, width: int = 100, normalize: Normalize = "batch") -> None:
        super().__init__()
        self.classes = spec.classes
        self.head = WeightHead(1, width, normalize=normalize)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U] from the losses [U]."""
        weights: Tensor = self.head(_loss_column(self.head, state, self.classes))
        return weights.to(state.loss.dtype)


@register_teacher("cmw-net")
class ClassAwareMWNet(Teacher):
    """MW-Net with an output of its own for each group of classes of similar size.  Shu et al. (2023).

    The groups are a k-means clustering of the logarithm of ``spec.class_counts``; classes of equal size
    share a group, and without counts there is one group.  Differences to the paper: those of ``mw-net``,
    and (4) the clustering is exact and over logarithms: long tails are geometric.
    Raises ValueError for counts that do not fit the classes, less than one group, or sentences.
    """

    sees = "surface"

    group: Tensor

    def __init__(
        self, spec: StateSpec, *, width: int = 100, groups: int = 3, normalize: Normalize = "batch"
    ) -> None:
        super().__init__()
        require_one_label(spec, "cmw-net")
        counts = checked_counts(spec) or (1,) * spec.classes
        group = class_groups(counts, groups)
        self.classes = spec.classes
        self.register_buffer("group", group)
        self.head = WeightHead(1, width, normalize=normalize, outputs=int(group.max()) + 1)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U] from the losses [U] and the group of each label."""
        column = self.group[class_labels(state)]
        weights: Tensor = self.head(_loss_column(self.head, state, self.classes), column=column)
        return weights.to(state.loss.dtype)


def _loss_column(head: WeightHead, state: StudentState, classes: int) -> Tensor:
    return scaled_loss(unit_loss(state).to(head.output.weight.dtype), classes)[:, None]


def class_groups(counts: Sequence[int], groups: int) -> Tensor:
    """Group of each class by the logarithm of its size, 0 for the rarest: C counts -> [C] int64.

    There are min(groups, different sizes) groups.  Raises ValueError for less than one group.
    """
    if groups < 1:
        raise ValueError(f"classes form 1 group or more, got groups={groups}")
    # host-side set-up in double precision, whatever the student computes in
    sizes = torch.tensor([math.log(max(n, 1)) for n in counts], dtype=torch.float64, device="cpu")
    return kmeans_line(sizes, groups)


def kmeans_line(points: Tensor, k: int) -> Tensor:
    """Exact k-means of points on a line: [n] -> groups [n] int64, in the order of the points' values.

    Dynamic programming over the sorted different values: the best cut into j + 1 groups is the best
    cut of a shorter head into j, and one more group.  Wang & Song (2011).
    """
    values, place, times = torch.unique(points - points.mean(), return_inverse=True, return_counts=True)
    n, total, square = (prefix_sums(times * values**power) for power in (0, 1, 2))
    spread = (square - square[:, None]) - (total - total[:, None]) ** 2 / (n - n[:, None])
    ends = torch.arange(len(n), device=points.device)
    cost = spread.where(ends[:, None] < ends, math.inf)
    best, cuts = cost[0], []
    for _ in range(min(k, len(values)) - 1):
        best, cut = (best[:, None] + cost).min(dim=0)
        cuts.append(cut)
    bounds, end = [], len(values)
    for cut in reversed(cuts):
        end = int(cut[end])
        bounds.append(end)
    starts = torch.tensor(bounds[::-1], dtype=torch.int64, device=points.device)
    return torch.searchsorted(starts, place, right=True)


def prefix_sums(values: Tensor) -> Tensor:
    """Sums of the first 0, 1, ..., n values: [n] -> [n + 1]."""
    return torch.cat([values.new_zeros(1), values.cumsum(0)])
