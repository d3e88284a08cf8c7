"""The trusted samples' hidden states, kept from the meta passes, and the neighbour vote over them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.base import Teacher, register_teacher
from metaweight.teachers.inputs import class_labels, hidden, last_tap, require_labels
from metaweight.teachers.pair_states import centred_sides, pair_agreement, pair_states, pair_taps


class TrustedStates(nn.Module):
    """The newest hidden state of each of the last ``capacity`` trusted samples; buffers, so it is saved.

    A sample that is seen again replaces its older state: a meta set smaller than the capacity is held
    once, not as copies that would outvote the rest.  Beyond the capacity the oldest leave.
    """

    states: Tensor
    """[capacity, D], newest batch first; rows from ``count`` on are empty."""
    targets: Tensor
    index: Tensor
    count: Tensor

    def __init__(self, width: int, *, capacity: int) -> None:
        super().__init__()
        if capacity < 1:
            raise ValueError(f"the memory holds 1 trusted state or more, got capacity={capacity}")
        self.register_buffer("states", torch.zeros(capacity, width))
        self.register_buffer("targets", torch.zeros(capacity, dtype=torch.int64))
        self.register_buffer("index", torch.zeros(capacity, dtype=torch.int64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return int(self.count)

    def held(self) -> tuple[Tensor, Tensor]:
        """States [N, D] and labels [N] of the N trusted samples held."""
        return self.states[: len(self)], self.targets[: len(self)]

    def remember(self, meta_state: StudentState, tap: str, pair: tuple[str, str] | None) -> None:
        """Take a meta batch: states of ``tap`` with their labels, or the ``pair`` states of sentences."""
        index = meta_state.index
        if pair is None:
            self.put(hidden(meta_state, tap), class_labels(meta_state), index)
        else:
            # a pair has no label, and nobody reads one
            self.put(pair_states(meta_state, pair), torch.zeros_like(index), index)

    def put(self, states: Tensor, targets: Tensor, index: Tensor) -> None:
        """Take a meta batch's states [U, D], labels [U] and positions in the data set [U]."""
        capacity, n = len(self.states), len(self)
        index = index.to(self.index)
        keep = ~torch.isin(self.index[:n], index)
        # out of place: a graph that was built on the old states stays valid
        rows = torch.cat([states.detach().to(self.states), self.states[:n][keep]])[:capacity]
        labels = torch.cat([targets.to(self.targets), self.targets[:n][keep]])[:capacity]
        order = torch.cat([index, self.index[:n][keep]])[:capacity]
        empty = capacity - len(rows)
        self.states = F.pad(rows, (0, 0, 0, empty))
        self.targets, self.index = F.pad(labels, (0, empty)), F.pad(order, (0, empty))
        self.count = self.count.new_tensor(len(rows))


@register_teacher("knn")
class Neighbours(Teacher):
    """2 where most of the ``k`` nearest trusted samples carry the given label, else 0; no meta-gradient.

    Nearness is the cosine of the deepest tap's states after the trusted mean is taken off.  Labels with
    as many votes as the winner agree too.  A sentence agrees where its target state is nearer to those of
    the trusted pairs with the nearest sources (``k``, at most half of those held) than to trusted target
    states at large.  Weights are 1 before any trusted state was observed, of sentences before two were.
    Raises ValueError for a student without taps, or k or capacity below 1.
    """

    sees, learns = "states", False

    def __init__(self, spec: StateSpec, *, k: int = 10, capacity: int = 512) -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"k, the number of neighbours, is 1 or more, got {k}")
        require_labels(spec, "teacher 'knn'")
        self.k = k
        self.tap, width = last_tap(spec, "knn")
        self.pair = pair_taps(spec, "knn") if spec.sentences else None
        if self.pair is not None:
            self.source_width = spec.features[self.pair[0]]
            width += self.source_width
        self.trusted = TrustedStates(width, capacity=capacity)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U], 0 or 2."""
        states, targets = self.trusted.held()
        if len(states) < (1 if self.pair is None else 2):
            return torch.ones_like(state.loss)
        if self.pair is not None:
            return 2 * self._pair_agrees(state, self.pair, states).to(state.loss.dtype)
        labels = class_labels(state)[:, None]
        mean = states.mean(dim=0)
        own = F.normalize(hidden(state, self.tap).to(states) - mean, dim=1)
        similarity = own @ F.normalize(states - mean, dim=1).T
        nearest = similarity.topk(min(self.k, len(states)), dim=1).indices
        votes = targets[nearest]
        # not one_hot: its [U, k, C] would not fit into memory where the labels are words
        most = (votes[:, :, None] == votes[:, None, :]).sum(dim=2).amax(dim=1)
        agrees = (votes == labels).sum(dim=1) == most
        return 2 * agrees.to(state.loss.dtype)

    def _pair_agrees(self, state: StudentState, taps: tuple[str, str], states: Tensor) -> Tensor:
        own = pair_states(state, taps).to(states)
        (sources, source), (trusted, target) = centred_sides(states, own, self.source_width)
        nearness = source @ sources.T
        k = min(self.k, len(states) // 2)  # all of them would leave nothing to compare with but rounding
        votes = torch.zeros_like(nearness).scatter(1, nearness.topk(k, dim=1).indices, 1 / k)
        return pair_agreement(votes, nearness, target, trusted)[:, 2] > 0

    def observe(self, meta_state: StudentState) -> None:
        """Remember the trusted samples' hidden states."""
        self.trusted.remember(meta_state, self.tap, self.pair)
