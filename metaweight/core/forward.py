"""One pass of a student over its part of a batch, and what all processes' parts make together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from metaweight.core.batch import Batch
from metaweight.core.parts import Part
from metaweight.core.processes import ALONE, Processes
from metaweight.core.states import StudentState, Units


@dataclass(frozen=True)
class Forward:
    """One pass of a student over this process's part of a batch, with its graph."""

    units: Units
    outputs: Tensor
    """The logits as the module gave them; [U, 0] where there are none."""
    features: Mapping[str, Tensor]
    """Tap -> [U, D]."""
    lengths: Mapping[str, Tensor]
    """Tap over the source -> [U], its real positions."""
    batch: Batch
    processes: Processes = ALONE
    """Those that have a part of the same batch."""

    @property
    def loss(self) -> Tensor:
        """[U]; its mean is the ordinary loss."""
        return self.units.loss

    @property
    def index(self) -> Tensor:
        """[U], position of each unit in the data set."""
        return self.units.of_rows(self.batch.index)

    @cached_property
    def part(self) -> Part:
        """Where the units here stand in the joined batch."""
        real = self.units.real
        width = 0 if real is None or self.units.each_token else real.shape[1]
        pooled = 0 if self.processes.size == 1 or not self.units.pooled else int(self.units.size.sum())
        stands_in = self.batch.stands_in
        return Part.of(self.processes, len(self.loss), stands_in=stands_in, width=width, pooled=pooled)

    @cached_property
    def losses(self) -> Tensor:
        """Of the joined batch [U], detached."""
        return self.part.join_losses(self.loss.detach())

    def detached(self) -> Forward:
        """The same without a graph."""
        same: Forward = replace(
            self,
            units=replace(self.units, loss=self.loss.detach()),
            outputs=self.outputs.detach(),
            features={name: value.detach() for name, value in self.features.items()},
        )
        vars(same).update({name: vars(self)[name] for name in ("part", "losses") if name in vars(self)})
        return same

    def joined(self, progress: float = 0.0) -> StudentState:
        """What the teacher may see of the joined batch, the same in every process, detached."""
        own = self.state(progress)
        return own if self.part.whole else JoinedState.of(own, self)

    def state(self, progress: float = 0.0, *, detached: bool = True) -> StudentState:
        """What the teacher may see of the units here, detached unless a gradient is to pass through it."""

        def shown(value: Tensor) -> Tensor:
            return value.detach() if detached else value

        units, outputs, targets = self.units, shown(self.outputs), self.batch.targets
        real = units.real if units.each_token else None
        # of a unit one number or more; tokens have a dimension before these that goes when they are picked
        first = 1 if real is None else real.dim()
        if outputs.dim() == first:
            outputs = outputs[..., None]
        elif outputs.dim() > first + 2:
            outputs = outputs.flatten(first + 1).mean(dim=first + 1)
        state = StudentState(
            loss=shown(units.loss),
            size=units.size.detach().to(units.loss.dtype),
            outputs=outputs if real is None or detached else outputs[real],
            features={name: shown(value) for name, value in self.features.items()},
            targets=targets if real is None else targets[real],
            index=self.index,
            progress=progress,
            real=units.real if real is None else None,
            lengths=self.lengths,
        )
        return TokenState.of(state, real) if real is not None and detached else state


class TokenState(StudentState):
    """The state of tokens: their outputs are picked out of the batch's each time that they are asked for.

    They are as large as the logits again, and few teachers want them, for a moment only.  Logits that are
    changed in place later are seen as they are then.
    """

    _all: Tensor
    _real: Tensor

    @staticmethod
    def of(state: StudentState, real: Tensor) -> TokenState:
        """Of a ``state`` with the outputs [B, T, ...] of a whole batch, of which some are ``real`` [B, T]."""
        own = object.__new__(TokenState)
        vars(own).update(vars(state), _all=state.outputs, _real=real)
        del vars(own)["outputs"]
        return own

    def __getattr__(self, name: str) -> Any:
        if name != "outputs":
            raise AttributeError(name)
        return self._all[self._real]


class JoinedState(StudentState):
    """The state of a joined batch, of which each value travels when the teacher first asks for it.

    All processes ask for the same, for their teachers are the same.
    """

    _own: StudentState
    _part: Part

    @staticmethod
    def of(own: StudentState, forward: Forward) -> JoinedState:
        """From the state ``own`` of this process's part."""
        state = object.__new__(JoinedState)
        for name, value in {"_own": own, "_part": forward.part, "progress": own.progress}.items():
            object.__setattr__(state, name, value)
        object.__setattr__(state, "loss", forward.losses)
        object.__setattr__(state, "real", own.real if own.real is None else state._joined(own.real))
        return state

    def __getattr__(self, name: str) -> Any:
        if name not in _TRAVELLING:
            raise AttributeError(name)
        value = getattr(self._own, name)
        joined = _Joined(self, value) if isinstance(value, Mapping) else self._joined(value)
        object.__setattr__(self, name, joined)
        return joined

    def _joined(self, value: Tensor) -> Tensor:
        """Over processes; sentences are padded to the longest of all."""
        more = self._part.width - value.shape[1] if self._own.real is not None and value.dim() > 1 else 0
        if more > 0:
            value = torch.cat([value, value.new_zeros(len(value), more, *value.shape[2:])], dim=1)
        return self._part.join(value)


_TRAVELLING = frozenset({"size", "outputs", "features", "targets", "index", "lengths"})


class _Joined(Mapping[str, Tensor]):
    """Values by tap, of which each travels when it is asked for."""

    def __init__(self, state: JoinedState, own: Mapping[str, Tensor]) -> None:
        self._state, self._own = state, own
        self._known: dict[str, Tensor] = {}

    def __getitem__(self, tap: str) -> Tensor:
        if tap not in self._known:
            self._known[tap] = self._state._part.join(self._own[tap])
        return self._known[tap]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)
