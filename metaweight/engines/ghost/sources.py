"""Tensors that depend on parameters alone: where a gradient goes to, and where a direction comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from metaweight.engines.checks import EngineError, double_backward
from metaweight.student.student import Named

Key = int | tuple[Node, int]
"""Of a leaf its id, of a function of leaves its place in the graph."""


@dataclass(frozen=True, eq=False)
class Source:
    """A leaf, or a tensor computed from leaves and constants."""

    key: Key
    like: Tensor
    """Detached."""
    edge: GradientEdge | None
    """None for a leaf."""
    version: int

    @property
    def intact(self) -> bool:
        """Whether nobody has changed it in place since it was used."""
        return self.like._version == self.version


class Derived:
    """The functions of parameters among the sources of a pass; holds their graphs."""

    def __init__(self, sources: Sequence[Source], parameters: Named) -> None:
        unique = {source.key: source for source in sources if source.edge is not None}
        self.sources, self.parameters = list(unique.values()), parameters

    def pulled(self, cotangents: Mapping[Key, Tensor]) -> dict[str, Tensor]:
        """sum_s (d s / d parameter)^T cotangent_s, by the parameters' names."""
        sources = [source for source in self.sources if source.key in cotangents]
        if not sources:
            return {}
        gradients = torch.autograd.grad(
            [s.edge for s in sources if s.edge is not None],
            list(self.parameters.values()),
            [cotangents[s.key].to(s.like.dtype) for s in sources],
            retain_graph=True,
            allow_unused=True,
        )
        return {name: g for name, g in zip(self.parameters, gradients, strict=True) if g is not None}

    def pushed(self, direction: Named) -> dict[Key, Tensor]:
        """(d s / d parameters) direction for each source that moves: a pull's derivative by what it pulls."""
        if not self.sources:
            return {}
        names = [name for name in self.parameters if name in direction]
        with torch.enable_grad(), double_backward():
            ones = [torch.ones_like(s.like).requires_grad_() for s in self.sources]
            pulls = torch.autograd.grad(
                [s.edge for s in self.sources if s.edge is not None],
                [self.parameters[name] for name in names],
                ones,
                create_graph=True,
                allow_unused=True,
            )
            reached = [(name, pull) for name, pull in zip(names, pulls, strict=True) if pull is not None]
            for name, pull in reached:
                if not pull.requires_grad:
                    raise EngineError(
                        f"the backward of what is computed from {name!r} alone cannot be differentiated (a "
                        "custom autograd.Function?); use engine='forward' or 'difference'"
                    )
            if not reached:
                return {}
            moved = torch.autograd.grad(
                [pull for _, pull in reached],
                ones,
                [direction[name] for name, _ in reached],
                allow_unused=True,
            )
        return {s.key: u for s, u in zip(self.sources, moved, strict=True) if u is not None}
