"""What the exact engines of one inner step share: all but the inner products <u, grad loss_i>."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, Forward
from metaweight.core.reads import doubt
from metaweight.core.sums import Summing
from metaweight.engines.abilities import Abilities
from metaweight.engines.adjoint import leaves_of
from metaweight.engines.base import Engine, GradientAt, Problem, Recorded, Solution, virtual_pass
from metaweight.engines.checks import EngineError, checked_weights, require_finite_losses
from metaweight.engines.graph import suspects
from metaweight.engines.inner import InnerStep
from metaweight.student.moving import Buffers
from metaweight.student.student import Named, Student

NO_INFLUENCE = (
    "the meta loss does not depend on any parameter that the optimizer moves: check which ones it was given"
)
PORTIONS = 8
"""Parts in which parameters are gone through where each that is done makes room."""
SMALL = 2**16
"""Numbers of which none makes room worth the time."""


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

    def whole(self, gradient: Named) -> dict[str, Tensor]:
        """Of a mean over the joined batch, given that of the rows here; see ``Part.whole_gradient``."""
        return self.recorded.forward.part.whole_gradient(gradient, self.student.parameters())

    def gradients(self, scalar: Tensor, *, keep_graph: bool = True) -> dict[str, Tensor]:
        """Of a mean over the joined batch, which is ``scalar`` over the rows here; see ``joined``."""
        parameters = self.student.parameters()
        return joined(self.student, self.recorded.forward, scalar, parameters, keep_graph=keep_graph)


class Differentiated(Protocol):
    """A train pass with the gradient of its weighted loss; its rows and units are those of this process."""

    gradient: Named
    """Parameter name -> gradient of mean(w * loss) over the joined batch, detached; where parameters are
    sharded, the shard here."""

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
        """No options; without this a Protocol's signature would take any."""

    @abstractmethod
    def differentiate(self, train: TrainPass, weights: Tensor) -> Differentiated:
        """The gradient at detached ``weights`` [U], and whatever the slopes need."""

    def solve(self, problem: Problem) -> Solution:
        """See ``Engine``."""
        student, (batch,) = problem.student, problem.train
        inner = InnerStep.of(problem.optimizer, student.parameters(), problem.max_norm)
        inner = inner.at(problem.rates_at(0))
        recorded = problem.recorded or self.record(problem)
        forward = recorded.forward
        require_finite_losses("train loss", forward)
        state = forward.joined(problem.progress)
        weights = checked_weights(problem.weigh(state), state.index)
        fixed, part = weights.detach(), forward.part
        train = TrainPass(student, batch, recorded, inner, recorded.keep_graph)
        differentiated = self.differentiate(train, part.own(fixed))
        gradient = differentiated.gradient
        meta, direction = self.direction(problem, train, differentiated)
        slopes = part.join_losses(differentiated.slopes(direction))
        self._require_mean(fixed * slopes, gradient, direction, train)
        again = differentiated.again
        return Solution(
            (weights,),
            (slopes / len(slopes),),
            meta,
            (state.index,),
            gradient,
            gradient_at=again and (lambda of_all: again(part.own(of_all))),
            direction=direction,
        )

    def direction(
        self, problem: Problem, train: TrainPass, differentiated: Differentiated
    ) -> tuple[Forward, Named]:
        """The meta pass, and u by parameter name, for the parameters in scope."""
        return direction_of(problem, train.recorded, differentiated.gradient, train.inner)

    def record(self, problem: Problem) -> Recorded:
        """See ``Engine``: a pass that leaves the live student as it is."""
        (batch,) = problem.train
        return virtual_pass(problem.student, batch, self.keeping(problem.student))

    def _require_mean(self, terms: Tensor, gradient: Named, direction: Named, train: TrainPass) -> None:
        """At every batch, for it costs nothing: the weighted mean of the slopes is <gradient, u>."""
        student, loss, losses = train.student, train.loss, train.recorded.forward.losses
        here, scale = terms.mean(), terms.abs().mean()
        there = inner_product(gradient, direction, student)
        off = (here - there).abs()

        def fail() -> None:
            if bool(off > rounding(gradient, direction, student)) and not saturated(terms, losses):
                found = suspects(student, loss)
                self.refuse(self.contradiction(float(here), float(there), found), first_time=False)

        doubt(off > self.tolerance(terms.dtype) * scale, fail)


def direction_of(
    problem: Problem, recorded: Recorded, gradient: Named, inner: InnerStep
) -> tuple[Forward, dict[str, Tensor]]:
    """The meta pass after the virtual step, and u by parameter name, for the parameters in scope."""
    student, scope = problem.student, problem.scope
    # theta', and with it the update's graph from the gradient alone
    leaves = leaves_of({name: g for name, g in gradient.items() if name in inner.options})
    here = student.own(student.parameters())
    successors, packs = inner.successors(here, problem.step_gradient(0, leaves))
    virtual = leaves_of(successors)
    meta, pull = meta_pass(
        problem, virtual, recorded.buffers if recorded.after is None else recorded.after, inner
    )
    del virtual
    if not any(name in pull for name in leaves):
        raise EngineError(NO_INFLUENCE)
    u = _pulled_back(successors, leaves, pull, packs if inner.max_norm is None else None)
    return meta, u if scope is None else {n: v for n, v in u.items() if n in scope}


def _pulled_back(
    successors: dict[str, Tensor], leaves: Named, pull: dict[str, Tensor], packs: list[list[str]] | None
) -> dict[str, Tensor]:
    """(d theta'/dg)^T pull by parameter name; ``successors`` and ``pull`` are let go of on the way.

    ``packs``: names of parameters that moved together, each pack by its own gradients alone; None: all by
    those of all.  Portions are then done one after the other, so that what is spent makes room.
    """
    u: dict[str, Tensor] = {}
    reached = [name for name in leaves if name in pull]
    for names in [reached] if packs is None else _portions(packs, pull):
        wrt = list(leaves) if packs is None else names
        found = torch.autograd.grad(
            [successors.pop(n) for n in names],
            [leaves[n] for n in wrt],
            [pull.pop(n) for n in names],
            allow_unused=True,
        )
        u |= {n: v for n, v in zip(wrt, found, strict=True) if v is not None}
    return u


def _portions(packs: list[list[str]], pull: dict[str, Tensor]) -> Iterator[list[str]]:
    """The names of packs in ``pull``, in ``PORTIONS`` of about one size, and fewer of small ones."""
    enough = max(SMALL, sum(value.numel() for value in pull.values()) // PORTIONS)
    names: list[str] = []
    size = 0
    for pack in packs:
        reached = [name for name in pack if name in pull]
        names += reached
        size += sum(pull[name].numel() for name in reached)
        if size >= enough:
            yield names
            names, size = [], 0
    if names:
        yield names


def meta_pass(
    problem: Problem, virtual: Named, buffers: Named, inner: InnerStep
) -> tuple[Forward, dict[str, Tensor]]:
    """The meta batch at parameters with requires_grad, detached, and the meta loss's gradient, in scope."""
    pull: dict[str, Tensor] = {}
    inside = {n: virtual[n] for n in inner.options if problem.scope is None or n in problem.scope}

    def backward(meta: Forward) -> None:
        require_finite_losses("meta loss", meta)
        pull.update(joined(student, meta, problem.meta_loss(meta), inside))

    student = problem.student
    meta = student.functional(problem.meta, virtual, Buffers(buffers), then=backward)
    return meta.detached(), pull  # the graph of it, spent as it is, would hold the parameters


def gradients(
    loss: Tensor, parameters: Named, *, keep_graph: bool = False, create_graph: bool = False
) -> dict[str, Tensor]:
    """Gradients of a scalar by name, for the parameters that it reaches."""
    grads = torch.autograd.grad(
        loss,
        list(parameters.values()),
        retain_graph=keep_graph or create_graph,
        create_graph=create_graph,
        allow_unused=True,
    )
    return {name: g for name, g in zip(parameters, grads, strict=True) if g is not None}


def joined(
    student: Student, forward: Forward, scalar: Tensor, parameters: Named, *, keep_graph: bool = False
) -> dict[str, Tensor]:
    """Gradients by name of a mean over the joined batch of ``forward``, which is ``scalar`` over the rows
    here; where parameters are sharded, their shards here.

    What is there already travels between the processes while the backward makes the rest.
    """
    part = forward.part
    if student.sharded is not None:
        return student.sharded.gradients(scalar * part.share, parameters, keep_graph=keep_graph)
    if part.whole:
        return gradients(scalar, parameters, keep_graph=keep_graph)
    summing = Summing(part.processes, parameters, part.share)
    hooks = [p.register_hook(partial(summing.add, name)) for name, p in parameters.items()]
    try:
        gradients(scalar, parameters, keep_graph=keep_graph)
    finally:
        for hook in hooks:
            hook.remove()
    return summing.total()


def joined_gradients(
    student: Student, forward: Forward, weights: Tensor, parameters: Named, *, keep_graph: bool = False
) -> dict[str, Tensor]:
    """Gradients of mean(weights * loss) over the joined batch, whose ``weights`` [U] these are, by name."""
    scalar = (forward.part.own(weights) * forward.loss).mean()
    return joined(student, forward, scalar, parameters, keep_graph=keep_graph)


def inner_product(a: Named, b: Named, student: Student) -> Tensor:
    """The sum over the parameters of both, real and imaginary parts as numbers of their own; in float32 at
    least."""
    return student.total(torch.stack([torch.dot(_reals(a[n]), _reals(b[n])) for n in b if n in a]).sum())


def norms(values: Iterable[Tensor], student: Student) -> Tensor:
    """2-norm of each, over all shards of it: [n]."""
    own = torch.stack([torch.linalg.vector_norm(value) for value in values])
    return own if student.sharded is None else student.total(own.square()).sqrt()


def saturated(terms: Tensor, loss: Tensor) -> bool:
    """Whether a batch is learnt by heart down to rounding: slopes are 0 then, and gradients noise."""
    small = 1e3 * torch.finfo(loss.dtype).eps
    return not bool(terms.any()) and bool((loss.detach().abs() <= small).all())


def rounding(a: Named, b: Named, student: Student) -> Tensor:
    """What rounding may make of an inner product whose terms cancel, or are too small to have digits."""
    products = [torch.dot(_reals(a[n]).abs(), _reals(b[n]).abs()) for n in b if n in a]
    terms = student.total(torch.stack(products).sum())
    eps = max(torch.finfo(value.dtype).eps for value in a.values())
    return 10 * (eps * terms + torch.finfo(terms.dtype).tiny)


def _reals(value: Tensor) -> Tensor:
    reals = torch.view_as_real(value.resolve_conj()) if value.is_complex() else value
    return reals.flatten().to(torch.promote_types(reals.dtype, torch.float32))
