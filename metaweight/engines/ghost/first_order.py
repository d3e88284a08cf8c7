"""Engine ``first-order``: ``ghost`` with a direction of low rank, made anew now and then."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from metaweight.core.contracts import Forward
from metaweight.core.weakly import PerObject
from metaweight.engines.abilities import Abilities
from metaweight.engines.base import Problem, registry
from metaweight.engines.checks import require_finite_losses
from metaweight.engines.ghost.contacts import Single
from metaweight.engines.ghost.engine import Ghost, Shares
from metaweight.engines.ghost.low_rank import Coarse, LowRank, pays, truncated
from metaweight.engines.one_step import Differentiated, TrainPass
from metaweight.student.moving import Buffers
from metaweight.student.student import Named

MEASURED_EVERY = 200
"""Batches between two measurements of the slopes' cosine to exact ones."""
LEAST = 0.75
"""Cosine below which slopes are made exactly from then on."""


class FirstOrderWarning(UserWarning):
    """Slopes of low rank, or of an old direction, had left the exact ones."""


@dataclass
class _Known:
    """Of one student."""

    batches: int = 0
    direction: Coarse | None = None
    """The last one that was made, where it is to go on."""
    exact: bool = False
    """Whether it was given up to be coarse."""
    cosines: list[float] = field(default_factory=list)
    """As they were measured."""


@registry.register("first-order")
class FirstOrder(Ghost):
    """Slopes <u, grad loss_i> as ``ghost`` has them, with u cut to ``rank`` in each large weight.

    Slopes along thin factors cost rank (in + out) / (in out) of a forward pass of that layer, where exact
    ones cost a whole one; None: no cut.  u is that of the virtual step, through any optimizer; every
    ``refresh`` batches it is made anew, and in between the meta batch costs a forward pass alone.  With
    ``online`` an iteration is about 1 + r / refresh plain steps, r = meta / train rows: a small meta batch
    makes it cheap.  For teachers that learn; those that read each sample's slope are refused, for its sign
    may be wrong.  In the first batch and every 200 the slopes are held against exact ones of that batch: with
    a cosine below 0.75 they are made exactly from then on, and a FirstOrderWarning says so; ``cosines`` has
    what was measured.  Raises ValueError for a rank or a refresh below 1.
    """

    abilities = Abilities(
        exact=False, coupled=False, tokens=False, written_out_attention=False, weighs_again=True
    )
    summary = "approximate, one inner step; ghost along a direction of low rank: for learned teachers"

    def __init__(self, rank: int | None = 16, *, refresh: int = 1) -> None:
        super().__init__()
        if rank is not None and rank < 1:
            raise ValueError(f"rank is 1 or more, or None, got {rank}")
        if refresh < 1:
            raise ValueError(f"refresh is 1 or more, got {refresh}")
        self.rank, self.refresh = rank, refresh
        self._students: PerObject[nn.Module, _Known] = PerObject(_Known)

    @property
    def coarse(self) -> str:
        """See ``Engine``."""
        said = [] if self.rank is None else [f"rank={self.rank}"]
        said += [] if self.refresh == 1 else [f"refresh={self.refresh}"]
        return f"engine 'first-order' with {' and '.join(said)}" if said else ""

    def cosines(self, module: nn.Module) -> tuple[float, ...]:
        """Of the slopes to exact ones, of a student's module: one for each measurement."""
        return tuple(self._students[module].cosines)

    def direction(
        self, problem: Problem, train: TrainPass, differentiated: Differentiated
    ) -> tuple[Forward, Named]:
        """See ``OneStep``."""
        known = self._students[problem.student.module]
        if known.exact or not self.coarse:
            return super().direction(problem, train, differentiated)
        old = known.direction if known.batches % self.refresh else None
        measured = known.batches % MEASURED_EVERY == 0
        if old is not None and not measured:
            meta = _meta_losses(problem, train)
            known.batches += 1
            return meta, old
        assert isinstance(differentiated, Shares)
        meta, exact = super().direction(problem, train, differentiated)
        direction = self._cut(exact, differentiated) if old is None else old
        known.batches += 1
        if measured:
            self._measure(known, train, differentiated, direction, exact)
        known.direction = direction if self.refresh > 1 and not known.exact else None
        return meta, exact if known.exact else direction

    def _cut(self, direction: Named, shares: Shares) -> Coarse:
        """Of low rank where that is cheaper."""
        if self.rank is None:
            return Coarse(direction, {})
        products: dict[str, int] = {}
        for part in shares.parts:
            if isinstance(part, Single) and part.thin is not None:
                key = part.sources[0].key
                if isinstance(key, int) and key in shares.names:
                    name = shares.names[key]
                    products[name] = products.get(name, 0) + part.thin.products
        factors = {
            name: truncated(direction[name], self.rank)
            for name, rows in products.items()
            if name in direction
            and not direction[name].is_complex()
            and pays(direction[name].shape, self.rank, rows)
        }
        return Coarse(direction, factors)

    def _measure(
        self, known: _Known, train: TrainPass, shares: Shares, direction: Named, exact: Named
    ) -> None:
        part = train.recorded.forward.part
        own, other = (part.join_losses(shares.slopes(u)).double() for u in (direction, exact))
        norms = own.norm() * other.norm()
        cosine = float(own @ other / norms) if bool(norms > 0) else 1.0
        known.cosines.append(cosine)
        if cosine < LEAST:
            known.exact = True
            warnings.warn(
                f"slopes of {self.coarse} have a cosine of {cosine:.2f} to exact ones in batch "
                f"{known.batches}: they are made exactly from now on, as by engine 'ghost'. A larger "
                "rank or a smaller refresh may do",
                FirstOrderWarning,
                stacklevel=2,
            )

    def state_dict(self, module: nn.Module) -> dict[str, Any]:
        """See ``Engine``."""
        known = self._students[module]
        direction = None
        if known.direction is not None:
            factors = known.direction.factors
            direction = {
                "whole": {name: u for name, u in known.direction.items() if name not in factors},
                "factors": {name: (factor.left, factor.right) for name, factor in factors.items()},
            }
        return {
            "batches": known.batches,
            "exact": known.exact,
            "cosines": [*known.cosines],
            "direction": direction,
        }

    def load_state_dict(self, module: nn.Module, state: Mapping[str, Any]) -> None:
        """See ``Engine``."""
        if not state:  # that of another engine
            return
        known, device = self._students[module], next(module.parameters()).device
        known.batches, known.exact = state["batches"], state["exact"]
        known.cosines = [*state["cosines"]]
        known.direction = None
        if (kept := state["direction"]) is not None:
            known.direction = Coarse(
                {name: u.to(device) for name, u in kept["whole"].items()},
                {
                    name: LowRank(*(side.to(device) for side in pair))
                    for name, pair in kept["factors"].items()
                },
            )


def _meta_losses(problem: Problem, train: TrainPass) -> Forward:
    """The meta batch at theta, without a graph."""
    recorded = train.recorded
    buffers = recorded.buffers if recorded.after is None else recorded.after
    with torch.no_grad():
        meta = problem.student.functional(problem.meta, {}, Buffers(buffers))
    require_finite_losses("meta loss", meta)
    return meta
