"""What an engine solves, its registry, and ``hypergradient``, the one way in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, Center, Forward, NonFiniteError, StudentState
from metaweight.core.options import checked_options, options_of
from metaweight.core.randomness import RandomState, differentiable, forked_rng
from metaweight.core.registry import Registry
from metaweight.engines.centring import checked_center, steered
from metaweight.engines.checks import require_finite
from metaweight.engines.scope import scope_of
from metaweight.engines.window import Rates, WindowEnd, checked_rates
from metaweight.student.student import Student

Weigh = Callable[[StudentState], Tensor]
GradientAt = Callable[[Tensor], Mapping[str, Tensor]]
"""Weights [U] -> parameter name -> gradient of mean(weights * loss), detached."""


@dataclass(frozen=True)
class Recorded:
    """A train pass of the live student that was made before the engine ran, to be shared with it."""

    forward: Forward
    buffers: dict[str, Tensor]
    """Clones from before that pass."""
    random: RandomState
    """The generators before that pass."""
    keep_graph: bool = True
    """Whether somebody backpropagates through ``forward`` after the engine."""
    kept: Any = None
    """What the engine's ``keeping`` gave for that pass."""


@dataclass(frozen=True)
class Problem:
    """dL_meta(theta_K)/dw for K inner steps from the student's and the optimizer's present state."""

    student: Student
    optimizer: Optimizer
    train: tuple[Batch, ...]
    meta: Batch
    weigh: Weigh
    max_norm: float | None = None
    progress: float = 0.0
    recorded: Recorded | None = None
    scope: frozenset[str] | None = None
    """Parameters through whose inner step the hypergradient goes; None for all.  The others' steps count
    as constants."""
    rates: Rates | None = None
    """K times the learning rate of each parameter group; None: as the optimizer has them."""

    def rates_at(self, step: int) -> Sequence[float] | None:
        """The learning rates of one of the K steps."""
        return None if self.rates is None else self.rates[step]


@dataclass(frozen=True)
class Solution:
    """What an engine found; K inner steps of U units."""

    weights: tuple[Tensor, ...]
    """K times [U], as ``weigh`` gave them, with their graph."""
    slopes: tuple[Tensor, ...]
    """K times [U]: dL_meta / dw, detached."""
    meta: Forward
    """The meta pass at theta_K."""
    index: tuple[Tensor, ...]
    """K times [U], position of each unit in the data set."""
    gradient: Mapping[str, Tensor]
    """Parameter name -> gradient of the last inner step's weighted loss, detached, before clipping."""
    end: WindowEnd | None = None
    """Where the inner steps lead, for the live student to go on from; None where the engine has not that."""
    gradient_at: GradientAt | None = None
    """Gradient of the train loss at other weights without a backward; None where the engine has not that."""


class Engine(Protocol):
    """A way to get dL_meta/dw. It knows no teacher and leaves all that is live as it was."""

    summary: str
    """One line for ``metaweight engines``: how, cost, what it cannot do."""
    max_unroll: int | None
    """The largest K; None for any."""

    def solve(self, problem: Problem) -> Solution:
        """Called with the random state forked and attention in a form for it, see ``attention_for``."""
        ...


def weighs_again(engine: Engine) -> bool:
    """Whether ``Solution.gradient_at`` is sure to be there: nobody needs the train pass's graph then."""
    return bool(getattr(engine, "weighs_again", False))


def attention_for(engine: Engine) -> AbstractContextManager[None]:
    """Attention in a form that ``engine`` can differentiate: an engine says ``differentiable = False``
    where any form will do, the fused kernels too."""
    return differentiable() if getattr(engine, "differentiable", True) else nullcontext()


@runtime_checkable
class EndsWindow(Protocol):
    """An engine that takes the K inner steps so that they can be the real ones: ``Solution.end``."""

    ends_window: bool


@runtime_checkable
class KeepsFromPass(Protocol):
    """An engine that uses something of the train pass that is made before it runs."""

    def keeping(self, student: Student) -> AbstractContextManager[Any]:
        """Around that pass; what it gives becomes ``Recorded.kept``."""
        ...


def keeping(engine: Engine, student: Student) -> AbstractContextManager[Any]:
    """The context for a train pass that goes into ``Recorded``; gives what ``engine`` keeps of it."""
    return engine.keeping(student) if isinstance(engine, KeepsFromPass) else nullcontext()


registry: Registry[Callable[..., Engine]] = Registry("engine", group="metaweight.engines")


@dataclass(frozen=True)
class HyperGradient:
    """dL_meta / d(wrt), and what was seen on the way."""

    grads: tuple[Tensor, ...]
    """Aligned with ``wrt``; zeros where a tensor has no influence."""
    meta_loss: Tensor
    """Scalar, the mean loss on the meta batch after the inner steps."""
    stats: Mapping[str, float]
    weights: tuple[Tensor, ...] = ()
    """K times [U], detached."""
    slopes: tuple[Tensor, ...] = ()
    """K times [U], dL_meta/dw before it is centred."""
    index: tuple[Tensor, ...] = ()
    """K times [U], position of each unit in the data set."""
    meta_state: StudentState | None = None
    gradient: Mapping[str, Tensor] = field(default_factory=dict)
    """Of the last inner step, by parameter name; ``online`` takes it for the real step."""
    end: WindowEnd | None = None
    """See ``Solution``; ``online`` takes it for K > 1 real steps."""
    gradient_at: GradientAt | None = None
    """See ``Solution``; ``lookahead`` takes it for the real step."""


def build_engine(engine: str | Engine, **options: Any) -> Engine:
    """An engine by name, with options of its own; an engine passes through.

    Raises KeyError for an unknown name, TypeError for an option that the engine does not have (with the
    nearest one) and for one of another type.
    """
    if not isinstance(engine, str):
        return engine
    build = registry[engine]
    return build(**checked_options(f"engine {engine!r}", build, options))


def engine_options(name: str) -> dict[str, Any]:
    """Option -> default of the engine ``name``."""
    return options_of(registry[name])


def hypergradient(
    student: Student,
    optimizer: Optimizer,
    train: Batch | Sequence[Batch],
    meta: Batch,
    weigh: Weigh,
    wrt: Sequence[Tensor],
    engine: str | Engine = "higher",
    *,
    center: Center = False,
    anchor: float = 0.0,
    max_norm: float | None = None,
    progress: float = 0.0,
    recorded: Recorded | None = None,
    scope: Sequence[str] | None = None,
    rates: Rates | None = None,
) -> HyperGradient:
    """Gradient of the meta loss after K weighted inner steps, with respect to what the weights depend on.

    ``train``: one batch, or K of them.  ``weigh``: StudentState -> weights [U] >= 0.  ``wrt``: tensors
    with requires_grad.  ``center`` subtracts from dL/dw its mean over each batch's units, "class" that over
    the units of one given class; ``anchor`` then adds anchor * std(dL/dw) * (mean(w) - 1), a pull of the mean
    weight (of each class) to 1.
    ``max_norm``: gradient clipping inside the step.  ``scope``: names of submodules; the inner step of
    all other parameters then counts as a constant, which is cheaper and no longer exact.  ``rates``: K
    times the learning rate of each parameter group, where it changes within the window.  Module,
    buffers, optimizer and random state are left bit for bit.
    Raises NonFiniteError for a NaN, EngineError where the engine cannot differentiate the student,
    KeyError for an unknown submodule.
    """
    chosen, center = build_engine(engine), checked_center(center)
    batches = (train,) if isinstance(train, Batch) else tuple(train)
    if not batches:
        raise ValueError("train is a Batch or a list of K of them, got an empty list")
    if chosen.max_unroll is not None and len(batches) > chosen.max_unroll:
        raise ValueError(
            f"engine {engine!r} unrolls {chosen.max_unroll} inner step(s), got {len(batches)} batches; "
            "engine='higher' takes any number"
        )
    problem = Problem(
        student,
        optimizer,
        batches,
        meta,
        weigh,
        max_norm,
        progress,
        recorded,
        scope_of(student, scope),
        checked_rates(rates, len(batches), optimizer),
    )
    with forked_rng(student.device), attention_for(chosen), torch.enable_grad():
        solution = chosen.solve(problem)
    for index, slope in zip(solution.index, solution.slopes, strict=True):
        require_finite("hypergradient", slope, index)
    slopes = tuple(
        steered(s, w.detach(), center, anchor, batch.targets)
        for s, w, batch in zip(solution.slopes, solution.weights, batches, strict=True)
    )
    grads = _pull_back(solution.weights, slopes, wrt)
    if not all(bool(g.isfinite().all()) for g in grads):
        raise NonFiniteError(
            "the teacher's gradient is NaN or infinite; look at its weights and learning rate"
        )
    return HyperGradient(
        grads=grads,
        meta_loss=solution.meta.loss.detach().mean(),
        stats={
            "slope_norm": float(torch.stack([s.norm() for s in slopes]).norm()),
            "slope_mean": float(torch.cat(solution.slopes).mean()),
        },
        weights=tuple(w.detach() for w in solution.weights),
        slopes=solution.slopes,
        index=solution.index,
        meta_state=solution.meta.state(progress),
        gradient=solution.gradient,
        end=solution.end,
        gradient_at=solution.gradient_at,
    )


def _pull_back(
    weights: Sequence[Tensor], slopes: Sequence[Tensor], wrt: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """sum_t dw_t/d(wrt)^T slope_t: one ordinary backward through the teacher."""
    if not wrt:
        return ()
    live = [(w, s) for w, s in zip(weights, slopes, strict=True) if w.requires_grad]
    if not live:
        raise ValueError(
            "the weights depend on none of the teacher's parameters (the tensors of wrt): are they detached?"
        )
    grads = torch.autograd.grad([w for w, _ in live], list(wrt), [s for _, s in live], allow_unused=True)
    return tuple(torch.zeros_like(t) if g is None else g for g, t in zip(grads, wrt, strict=True))
