"""A batch that lies in several processes: which of its units are where, and what the parts make together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metaweight.core.processes import Processes


@dataclass(frozen=True)
class Part:
    """Which units of a joined batch are this process's.  The joined batch has them in the order of ranks."""

    processes: Processes
    units: tuple[int, ...]
    """How many each process has, by rank."""
    held: int
    """Rows of the pass here; they are none of the joined batch's where they stand in."""
    width: int = 0
    """The most target tokens that a sentence is padded to; 0 where a unit has one target."""
    scale: float = 1.0
    """What losses here are multiplied by to be those of the joined batch, see ``Units.pooled``."""

    @staticmethod
    def of(
        processes: Processes, units: int, *, stands_in: bool = False, width: int = 0, pooled: int = 0
    ) -> Part:
        """Ask the others.  ``pooled``: targets that losses are divided by.

        Raises ValueError where nobody has a unit.
        """
        if processes.size == 1 and not stands_in:
            return Part(processes, (units,), units, width)
        told = processes.told([0, width, 0] if stands_in else [units, width, pooled])
        counts, widths, targets = zip(*told, strict=True)
        if not any(counts):
            raise ValueError("a batch of no process has a row that counts: all of them stand in")
        scale = sum(counts) / sum(targets) * (pooled / units) if pooled else 1.0
        return Part(processes, counts, units, max(widths), scale)

    @property
    def whole(self) -> bool:
        """Whether it is all of the batch."""
        return self.processes.size == 1

    @property
    def total(self) -> int:
        """Units of the joined batch."""
        return sum(self.units)

    @property
    def share(self) -> float:
        """What the mean loss here counts in that of the joined batch."""
        return self.scale * self.units[self.processes.rank] / self.total

    @property
    def among_means(self) -> float:
        """What the mean loss here is multiplied by, that the mean over processes be that of the joined batch;
        1 where all have as many units."""
        return self.scale * self.units[self.processes.rank] * self.processes.size / self.total

    def join(self, own: Tensor) -> Tensor:
        """Values [held, ...] -> those of the joined batch [total, ...], the same in every process."""
        if self.whole:
            return own
        own = own.detach()[: self.units[self.processes.rank]]
        return torch.cat(self.processes.gathered(own, self.units))

    def join_losses(self, own: Tensor) -> Tensor:
        """As ``join``, of losses or what is linear in them, which are scaled as those of the joined batch."""
        return own if self.whole else self.join(own * self.scale)

    def own(self, joined: Tensor) -> Tensor:
        """Values of the joined batch [total, ...] -> those of the rows here [held, ...]."""
        if self.whole:
            return joined
        first, count = sum(self.units[: self.processes.rank]), self.units[self.processes.rank]
        return joined[first : first + count] if count else joined.new_zeros(self.held, *joined.shape[1:])

    def whole_gradient(
        self, own: Mapping[str, Tensor], like: Mapping[str, Tensor], *, differentiable: bool = False
    ) -> dict[str, Tensor]:
        """Gradients of a mean over the rows here -> those of the mean over the joined batch, by name.

        ``like``: name -> the parameter, of all that may have one.  ``differentiable``: with a graph, whose
        backward takes each process's gradient for what its own part of a loss gives, and adds them up.
        """
        if self.whole:
            return dict(own)
        if not differentiable:
            return self.processes.summed(own, like, self.share)
        names: list[str] = []
        values = _Summed.apply(self, like, names, tuple(own), *own.values())  # type: ignore[no-untyped-call]
        return dict(zip(names, values, strict=True))


class _Summed(torch.autograd.Function):
    """``Processes.summed`` with a graph; the names of what it gives go into a list."""

    @staticmethod
    def forward(
        ctx: Any,
        part: Part,
        like: Mapping[str, Tensor],
        found: list[str],
        names: tuple[str, ...],
        *own: Tensor,
    ) -> tuple[Tensor, ...]:
        total = part.processes.summed(dict(zip(names, own, strict=True)), like, part.share)
        found.extend(total)
        ctx.part, ctx.found, ctx.names = part, tuple(total), names
        ctx.like = {name: value.detach() for name, value in like.items()}
        return tuple(total.values())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *pulls: Tensor) -> tuple[Tensor | None, ...]:
        pulled = dict(zip(ctx.found, pulls, strict=True))
        total, share = ctx.part.processes.summed(pulled, ctx.like, 1.0), ctx.part.share
        own = (total[name] * share if name in total else None for name in ctx.names)
        return None, None, None, None, *own
