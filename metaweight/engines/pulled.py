"""Back through one step: from what a loss after it says of its end to what it says of weights and start."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from metaweight.core.contracts import Forward
from metaweight.engines.adjoint import Adjoint, through_update
from metaweight.engines.inner import InnerStep
from metaweight.student.student import Named


class GradientGraph:
    """The gradient of a weighted train pass with the graph behind it, for adjoints to pass through.

    ``weights`` [U]: of the joined batch.  ``leaves``: the parameters of the pass, which require a gradient;
    those in ``names`` are moved by the step.  ``summed``: of the sum over the units instead of their mean.
    """

    def __init__(
        self,
        forward: Forward,
        weights: Tensor,
        leaves: Named,
        names: Collection[str],
        *,
        summed: bool = False,
    ) -> None:
        self.part, self.leaves, self.names = forward.part, leaves, list(names)
        self._weights = self.part.own(weights.detach()).requires_grad_()
        weighted = self._weights * forward.loss
        products = torch.autograd.grad(
            weighted.sum() if summed else weighted.mean(),
            [leaves[n] for n in self.names],
            create_graph=True,
            allow_unused=True,
        )
        self._graph = {n: g for n, g in zip(self.names, products, strict=True) if g is not None}

    def gradient(self) -> dict[str, Tensor]:
        """Parameter name -> gradient over the joined batch, detached; of those that it reaches."""
        return self.part.whole_gradient({n: g.detach() for n, g in self._graph.items()}, self.leaves)

    def back(
        self,
        inner: InnerStep,
        total: Named,
        adjoint: Adjoint,
        *,
        share: float = 1.0,
        scope: Collection[str] | None = None,
        inside: bool = True,
        beside: Sequence[tuple[Tensor, Tensor]] = (),
        keep_graph: bool = False,
    ) -> tuple[Tensor, Adjoint]:
        """(dL/dw [U] of the joined batch, adjoint before the step), from the ``adjoint`` after it.

        ``inner``: the step as it was taken there, by the gradient ``total``, of which this one is the
        ``share``.  ``scope``: names of the parameters that matter; None: all.  ``inside=False``: nobody asks
        what the parameters before the step would change.  ``beside``: further outputs of the pass, each with
        what the loss says of it.  ``keep_graph``: whether another adjoint follows.
        """
        here = {name: leaf.detach() for name, leaf in self.leaves.items()}
        pull, before = through_update(inner, here, total, adjoint)
        if share != 1.0:
            pull = {n: share * v for n, v in pull.items()}
        slope, own = self.through(pull, scope=scope, inside=inside, beside=beside, keep_graph=keep_graph)
        return slope, replace(before, parameters=added(before.parameters, own))

    def through(
        self,
        pull: Named,
        *,
        scope: Collection[str] | None = None,
        inside: bool = True,
        beside: Sequence[tuple[Tensor, Tensor]] = (),
        keep_graph: bool = False,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(dL/dw [U] of the joined batch, dL/d parameter by name), from ``pull``, dL/d gradient.

        The rest as for ``back``.
        """
        within = [n for n in self.names if inside and (scope is None or n in scope)]
        chosen = [
            n
            for n in pull
            if n in self._graph and self._graph[n].requires_grad and (scope is None or n in scope)
        ]
        outputs = [(self._graph[n], pull[n]) for n in chosen] + [pair for pair in beside if within]
        cut, bent = None, []
        if outputs:  # else no parameter that matters later has moved here
            cut, *bent = torch.autograd.grad(
                [value for value, _ in outputs],
                [self._weights, *(self.leaves[n] for n in within)],
                [pulled for _, pulled in outputs],
                allow_unused=True,
                retain_graph=keep_graph,
            )
        slope = self.part.join(torch.zeros_like(self._weights) if cut is None else cut * self.part.share)
        own = {n: v for n, v in zip(within, bent, strict=bool(bent)) if v is not None}
        return slope, self.part.whole_gradient(own, self.leaves)


def added(values: Named, more: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """The sum by name; what is missing is 0."""
    total = dict(values)
    for name, value in more.items():
        if value is not None:
            total[name] = total[name] + value if name in total else value
    return total
