"""Engine ``double``: the gradient with its graph, then one derivative of <gradient, u> by the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.engines.base import registry
from metaweight.engines.checks import double_backward, refuse_compiled
from metaweight.engines.one_step import Differentiated, OneStep, TrainPass
from metaweight.student.student import Named


@registry.register("double")
class DoubleBackward(OneStep):
    """Double backward with everything cut off that does not lead to the weights.

    The gradient is linear in the weights, and no activation depends on them: of the second backward
    only the way from the parameters' gradients through the output gradients is walked.  Exact also where
    BatchNorm couples the batch, but slow and large there.
    """

    summary = "exact, one inner step; double backward from the gradient to the weights alone"
    suspicion = "a backward of the student's cannot be differentiated, as a custom autograd.Function's may"
    advice = "use engine='forward' or 'difference'"

    def differentiate(self, train: TrainPass, weights: Tensor) -> Graph:
        """See ``OneStep``."""
        return Graph(train, weights)


class Graph(Differentiated):
    """The gradient of mean(w * loss) with the graph that leads to w."""

    def __init__(self, train: TrainPass, weights: Tensor) -> None:
        refuse_compiled(train.student)
        self._train, self._leaf = train, weights.clone().requires_grad_()
        parameters = train.student.parameters()
        names = list(parameters)
        with double_backward():
            grads = torch.autograd.grad(
                (self._leaf * train.loss).mean(),
                [parameters[n] for n in names],
                create_graph=True,
                allow_unused=True,
            )
        self._graph = {name: g for name, g in zip(names, grads, strict=True) if g is not None}
        self.gradient = train.whole({name: g.detach() for name, g in self._graph.items()})

    def hessian_product(self, v: Named) -> dict[str, Tensor]:
        """H v, H being the Hessian of mean(w * loss) over the parameters that ``v`` names."""
        names = [name for name in v if name in self._graph and self._graph[name].requires_grad]
        parameters = self._train.student.parameters()
        with double_backward():
            products = torch.autograd.grad(
                [self._graph[n] for n in names],
                [parameters[n] for n in v],
                [v[n] for n in names],
                retain_graph=True,
                allow_unused=True,
            )
        return {name: torch.zeros_like(p) if p is None else p for name, p in zip(v, products, strict=True)}

    def slopes(self, direction: Named) -> Tensor:
        """See ``Differentiated``."""
        # another process may have reached a parameter that no row here reaches
        names = [n for n in direction if n in self._graph and self._graph[n].requires_grad]
        with double_backward():
            (slopes,) = torch.autograd.grad(
                [self._graph[n] for n in names],
                self._leaf,
                [direction[n] for n in names],
                retain_graph=self._train.keep_graph,
                allow_unused=True,
            )
        self._graph = {}
        return torch.zeros_like(self._leaf) if slopes is None else slopes * len(slopes)
