"""What the exact engines of one inner step share: all but the inner products <u, grad loss_i>."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from metaweight.core.contracts import Batch, Forward
from metaweight.core.randomness import RandomState
from metaweight.engines.abilities import Abilities
from metaweight.engines.base import Engine, GradientAt, Problem, Recorded, Solution
from metaweight.engines.checks import EngineError, checked_weights, refuse_reentrant, require_finite
from metaweight.engines.inner import InnerStep
from metaweight.student.student import Named, Student

NO_INFLUENCE = (
    "the meta loss does not depend on any parameter that the optimizer moves: check which ones it was given"
)


@dataclass(frozen=True)
class TrainPass:
    """A train pass at theta, which an engine is to differentiate."""

    student: Student
    batch: Batch
    recorded: Recorded
    inner: InnerStep
    keep_graph: bool
    """Whether the graph of ``recorded`` is needed once ``slopes`` has been called."""

    @property
    def loss(self) -> Tensor:
        """[U], with its graph."""
        return self.recorded.forward.loss

    def gradients(self, scalar: Tensor, *, keep_graph: bool = True) -> dict[str, Tensor]:
        """Gradients of a scalar by name, for the parameters that the optimizer moves and that it reaches."""
        return gradients(scalar, self.student.parameters(), self.inner, keep_graph=keep_graph)


class Differentiated(Protocol):
    """A train pass with the gradient of its weighted loss."""

    gradient: Named
    """Parameter name -> gradient of mean(w * loss), detached."""

    @abstractmethod
    def slopes(self, direction: Named) -> Tensor:
        """<direction, grad loss_i> for each unit [U]; called once."""

    @property
    def again(self) -> GradientAt | None:
        """The gradient at other weights, of engines with the ability ``weighs_again``."""
        return None


class OneStep(Engine):
    """dL/dw_i = <u, grad loss_i> / U with u = (d theta'/dg)^T grad L_meta(theta').

    u is one vector-Jacobian product through the update rule alone.  How the U inner products are had is
    the engine's own business.
    """

    abilities = Abilities()

    def __init__(self) -> None:
        self._checked: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    @abstractmethod
    def differentiate(self, train: TrainPass, weights: Tensor) -> Differentiated:
        """The gradient at detached ``weights`` [U], and whatever the slopes need."""

    def solve(self, problem: Problem) -> Solution:
        """See ``Engine``."""
        student, (batch,) = problem.student, problem.train
        inner = InnerStep.of(problem.optimizer, student.parameters(), problem.max_norm)
        recorded = problem.recorded or self._record(student, batch)
        loss, index = recorded.forward.loss, recorded.forward.index
        require_finite("train loss", loss, index)
        weights = checked_weights(problem.weigh(recorded.forward.state(problem.progress)), index)
        fixed = weights.detach()
        first_time = student.module not in self._checked
        if first_time:
            refuse_reentrant(loss)
        train = TrainPass(student, batch, recorded, inner, recorded.keep_graph or first_time)
        differentiated = self.differentiate(train, fixed)
        meta, direction = self.direction(problem, train, differentiated)
        slopes = differentiated.slopes(direction)
        gradient = differentiated.gradient
        self._check(train, fixed, gradient, direction, slopes, first_time=first_time)
        return Solution(
            (weights,), (slopes / len(index),), meta, (index,), gradient, gradient_at=differentiated.again
        )

    def direction(
        self, problem: Problem, train: TrainPass, differentiated: Differentiated
    ) -> tuple[Forward, dict[str, Tensor]]:
        """The meta pass, and u by parameter name, for the parameters in scope."""
        student, inner, scope = train.student, train.inner, problem.scope
        # theta', and with it the update's graph from the gradient alone
        leaves = {name: g.detach().requires_grad_() for name, g in differentiated.gradient.items()}
        successors, _ = inner({name: p.detach() for name, p in student.parameters().items()}, leaves)
        virtual = {name: p.detach().requires_grad_() for name, p in successors.items()}
        meta, pull = meta_pass(problem, virtual, train.recorded.buffers, inner)
        names = [name for name in leaves if name in pull]
        if not names:
            raise EngineError(NO_INFLUENCE)
        u = torch.autograd.grad(
            [successors[n] for n in names], list(leaves.values()), [pull[n] for n in names], allow_unused=True
        )
        inside = {n: v for n, v in zip(leaves, u, strict=True) if v is not None}
        return meta, inside if scope is None else {n: v for n, v in inside.items() if n in scope}

    def _record(self, student: Student, batch: Batch) -> Recorded:
        random, buffers = RandomState.of(student.device), student.buffers()
        with self.keeping(student) as kept:
            forward = student.functional(batch, {}, student.buffers())
        return Recorded(forward, buffers, random, keep_graph=False, kept=kept)

    def _check(
        self,
        train: TrainPass,
        weights: Tensor,
        gradient: Named,
        direction: Named,
        slopes: Tensor,
        *,
        first_time: bool,
    ) -> None:
        """Raise EngineError where reverse mode contradicts: what would be wrong in silence shows here."""
        reverse_mode = _inner_product(gradient, direction)
        self._compare(weights * slopes, reverse_mode, first_time=first_time)
        if not first_time:
            return
        # other weights than the teacher's, which may all be 0, and no two alike: a unit's slope given to
        # another unit shows as well
        ramp = torch.linspace(0.5, 1.5, len(slopes), dtype=slopes.dtype, device=slopes.device)
        other = train.gradients((ramp * train.loss).mean(), keep_graph=train.recorded.keep_graph)
        self._compare(ramp * slopes, _inner_product(other, direction), first_time=True)
        self._checked.add(train.student.module)

    def _compare(self, terms: Tensor, reverse_mode: Tensor, *, first_time: bool) -> None:
        here, scale = terms.mean(), terms.abs().mean()
        tolerance = self.tolerance(terms.dtype)
        if bool((here - reverse_mode).abs() > tolerance * scale + torch.finfo(scale.dtype).tiny):
            self.object(self.contradiction(float(here), float(reverse_mode)), first_time=first_time)

    def object(self, message: str, *, first_time: bool) -> None:
        """What happens where reverse mode contradicts, at a student's first batch and later."""
        raise EngineError(message)

    def tolerance(self, dtype: torch.dtype) -> float:
        """How far the mean slope may be from reverse mode's, as a share of the mean absolute slope."""
        return 1e-6 if dtype.itemsize >= 8 else 2e-2

    @abstractmethod
    def contradiction(self, here: float, reverse_mode: float) -> str:
        """What to tell a user whose student makes the two differ."""


def meta_pass(
    problem: Problem, virtual: Named, buffers: Named, inner: InnerStep
) -> tuple[Forward, dict[str, Tensor]]:
    """The meta batch at parameters with requires_grad, and its mean loss's gradient, in scope."""
    student, buffers = problem.student, clones(buffers)
    meta = student.functional(problem.meta, virtual, buffers)
    require_finite("meta loss", meta.loss, meta.index)

    def pull() -> dict[str, Tensor]:
        return gradients(meta.loss.mean(), virtual, inner, scope=problem.scope)

    return meta, student.within(virtual, buffers, pull)


def gradients(
    loss: Tensor,
    parameters: Named,
    inner: InnerStep,
    *,
    keep_graph: bool = False,
    scope: frozenset[str] | None = None,
) -> dict[str, Tensor]:
    """Gradients of a scalar by name, for the parameters that the optimizer moves and that it reaches."""
    names = [name for name in inner.options if scope is None or name in scope]
    grads = torch.autograd.grad(
        loss, [parameters[n] for n in names], retain_graph=keep_graph, allow_unused=True
    )
    return {name: g for name, g in zip(names, grads, strict=True) if g is not None}


def clones(buffers: Named) -> dict[str, Tensor]:
    """Buffers for a pass to move: it writes the running statistics it is given, in place."""
    return {name: b.clone() for name, b in buffers.items()}


def _inner_product(a: Named, b: Named) -> Tensor:
    return torch.stack([(a[n] * b[n]).sum() for n in b if n in a]).sum()
