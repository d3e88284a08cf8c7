"""What is kept of the trusted samples from the meta passes: hidden states, and what they are told."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metaweight.core.contracts import StateSpec, StudentState, Target
from metaweight.teachers.inputs import class_labels, hidden, in_columns, last_tap, of_others, residuals
from metaweight.teachers.pair_states import pair_states, pair_taps


class TrustedStates(nn.Module):
    """The newest hidden state of each of the last ``capacity`` trusted samples; buffers, so it is saved.

    A sample that is seen again replaces its older state: a meta set smaller than the capacity is held
    once, not as copies that would outvote the rest.  Beyond the capacity the oldest leave.
    ``in_train``: trusted samples are trained on too, and are not to be compared with themselves.
    """

    states: Tensor
    """[capacity, D], newest batch first; rows from ``count`` on are empty."""
    targets: Tensor
    """[capacity] labels, or [capacity, columns] of what else the trusted samples are told."""
    index: Tensor
    count: Tensor

    def __init__(self, width: int, *, capacity: int, columns: int = 0, in_train: bool = False) -> None:
        super().__init__()
        if capacity < 1:
            raise ValueError(f"the memory holds 1 trusted state or more, got capacity={capacity}")
        self.in_train = in_train
        self.register_buffer("states", torch.zeros(capacity, width))
        targets = torch.zeros(capacity, columns) if columns else torch.zeros(capacity, dtype=torch.int64)
        self.register_buffer("targets", targets)
        self.register_buffer("index", torch.zeros(capacity, dtype=torch.int64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self._known = self.count, _version(self.count), 0
        """The buffer, how often it was changed, and what it held: to read that waits for the device."""

    @classmethod
    def of(cls, spec: StateSpec, width: int, *, capacity: int) -> TrustedStates:
        """For states of ``width`` columns of a student's samples, and what these are told."""
        return cls(width, capacity=capacity, columns=told_columns(spec), in_train=spec.meta_in_train)

    def __len__(self) -> int:
        buffer, version, count = self._known
        if buffer is not self.count or version != _version(buffer):
            count = int(self.count)
            self._known = self.count, _version(self.count), count
        return count

    def held(self) -> tuple[Tensor, Tensor]:
        """States [N, D] and targets, labels [N] or else [N, columns], of the N trusted samples held."""
        return self.states[: len(self)], self.targets[: len(self)]

    @property
    def others(self) -> int:
        """How many of those held any sample can be compared with, itself left out."""
        return max(len(self) - self.in_train, 0)

    def itself(self, index: Tensor) -> Tensor | None:
        """Where these are trained on: which are the samples at places [U] themselves [U, N]; else None."""
        return self.same(index) if self.in_train else None

    def same(self, index: Tensor) -> Tensor:
        """[U] -> [U, N] bool: which of the N held have the places ``index``."""
        return index.to(self.index)[:, None] == self.index[: len(self)]

    def remember(
        self, meta_state: StudentState, tap: str | None, pair: tuple[str, str] | None, target: Target
    ) -> None:
        """Take a meta batch: states of ``tap`` with their targets, or the ``pair`` states of sentences."""
        index = meta_state.index
        if pair is None:
            self.put(hidden_or_none(meta_state, tap), told(meta_state, target, self.states.dtype), index)
        else:
            # a pair has no label, and nobody reads one
            self.put(pair_states(meta_state, pair), torch.zeros_like(index), index)

    def put(self, states: Tensor, targets: Tensor, index: Tensor) -> None:
        """Take a meta batch's states [U, D], targets [U] or [U, columns] and places in the data set [U]."""
        capacity, n = len(self.states), len(self)
        index = index.to(self.index)
        # as places: a mask would be read by each that takes it
        keep = (~torch.isin(self.index[:n], index)).nonzero().squeeze(1)
        # out of place: a graph that was built on the old states stays valid
        rows = torch.cat([states.detach().to(self.states), self.states[:n][keep]])[:capacity]
        labels = torch.cat([targets.detach().to(self.targets), self.targets[:n][keep]])[:capacity]
        order = torch.cat([index, self.index[:n][keep]])[:capacity]
        empty = capacity - len(rows)
        self.states = F.pad(rows, (0, 0, 0, empty))
        self.targets = F.pad(labels, (0, empty) if labels.dim() == 1 else (0, 0, 0, empty))
        self.index = F.pad(order, (0, empty))
        self.count = torch.full_like(self.count, len(rows))
        self._known = self.count, _version(self.count), len(rows)


def _version(buffer: Tensor) -> int:
    return 0 if buffer.is_inference() else buffer._version


class Compared(NamedTuple):
    """Which of a student's states samples are compared by."""

    tap: str | None
    """The deepest; None of numbers where there is none."""
    pair: tuple[str, str] | None
    """Of sentences the deepest tap over the source and over the target."""
    width: int
    """Columns in all."""
    source_width: int
    """The first of them, of a sentence's source."""


def compared(spec: StateSpec, teacher: str) -> Compared:
    """Raises as ``last_tap``, but of numbers, and as ``pair_taps``."""
    if spec.target == "number" and not spec.features:
        return Compared(None, None, 0, 0)
    tap, width = last_tap(spec, teacher)
    if not spec.sentences:
        return Compared(tap, None, width, 0)
    pair = pair_taps(spec, teacher)
    source = spec.features[pair[0]]
    return Compared(tap, pair, source + width, source)


def hidden_or_none(state: StudentState, tap: str | None) -> Tensor:
    """The hidden states [U, D] of a tap; of none [U, 0]."""
    return state.loss.new_zeros(len(state), 0) if tap is None else hidden(state, tap)


def told(state: StudentState, target: Target, dtype: torch.dtype) -> Tensor:
    """What is compared of a state's units: labels [U], answers [U, L], or numbers and residuals [U, 2D]."""
    if target == "class":
        return class_labels(state)
    given = in_columns(state.targets, dtype)
    return torch.cat([given, residuals(state, dtype)], dim=1) if target == "number" else given


def told_columns(spec: StateSpec) -> int:
    """Columns of ``told``; 0 of labels."""
    return 0 if spec.target == "class" else spec.classes * (1 + (spec.target == "number"))


def nearness(trusted: TrustedStates, state: StudentState, tap: str | None, itself: Tensor | None) -> Tensor:
    """``cosines`` of the states of ``tap`` and those held: [U, N], -inf where ``itself`` [U, N]."""
    states, _ = trusted.held()
    return of_others(cosines(hidden_or_none(state, tap).to(states), states), itself, -torch.inf)


def cosines(own: Tensor, trusted: Tensor) -> Tensor:
    """Cosines of states [U, D] and trusted ones [N, D], less the trusted mean: [U, N]."""
    mean = trusted.mean(dim=0)
    return F.normalize(own - mean, dim=1) @ F.normalize(trusted - mean, dim=1).T
