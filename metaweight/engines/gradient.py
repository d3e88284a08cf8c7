"""``hypergradient``, the one way in: a problem, solved by an engine, pulled back through the teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, Center, NonFiniteError, StudentState
from metaweight.core.randomness import alone, forked_rng
from metaweight.core.reads import Numbers, doubt, together
from metaweight.engines.base import (
    CHECK_EVERY,
    Engine,
    GradientAt,
    MetaWeights,
    Problem,
    Recorded,
    Sighted,
    Weigh,
    attention_for,
    build_engine,
)
from metaweight.engines.centring import Scale, checked_center, steered, unscaled
from metaweight.engines.checks import refuse_parted_statistics, require_finite
from metaweight.engines.inner import as_one, refuse_sparse
from metaweight.engines.scope import scope_of
from metaweight.engines.watch import answer
from metaweight.engines.window import Rates, WindowEnd, checked_rates
from metaweight.student.checks import require_student
from metaweight.student.labels import refuse_positions
from metaweight.student.student import Student


@dataclass(frozen=True)
class HyperGradient:
    """dL_meta / d(wrt), and what was seen on the way."""

    grads: tuple[Tensor, ...]
    """Aligned with ``wrt``; zeros where a tensor has no influence."""
    meta_loss: Tensor
    """Scalar, the mean loss on the meta batch after the inner steps, whatever its units count."""
    stats: Mapping[str, float]
    """Read from the device when one of them is asked for."""
    weights: tuple[Tensor, ...] = ()
    """K times [U], detached."""
    slopes: tuple[Tensor, ...] = ()
    """K times [U], dL_meta/dw, divided by ``scale``, before it is centred."""
    index: tuple[Tensor, ...] = ()
    """K times [U], position of each unit in the data set."""
    meta_state: StudentState | None = None
    gradient: Mapping[str, Tensor] = field(default_factory=dict)
    """Of the last inner step, by parameter name; ``online`` takes it for the real step."""
    end: WindowEnd | None = None
    """See ``Solution``; ``online`` takes it for K > 1 real steps."""
    gradient_at: GradientAt | None = None
    """See ``Solution``; ``lookahead`` takes it for the real step."""
    states: tuple[StudentState, ...] = ()
    """See ``Solution``."""


@together()
def hypergradient(
    student: Student,
    optimizer: Optimizer | Sequence[Optimizer],
    train: Batch | Sequence[Batch],
    meta: Batch,
    weigh: Weigh,
    wrt: Sequence[Tensor],
    engine: str | Engine = "auto",
    *,
    center: Center = False,
    anchor: float = 0.0,
    max_norm: float | None = None,
    progress: float = 0.0,
    recorded: Recorded | None = None,
    scope: Sequence[str] | None = None,
    rates: Rates | None = None,
    gathered: Mapping[str, Tensor] | None = None,
    share: float = 1.0,
    check_every: int = CHECK_EVERY,
    scale: Scale | None = None,
    weigh_meta: MetaWeights | None = None,
) -> HyperGradient:
    """Gradient of the meta loss after K weighted inner steps, with respect to what the weights depend on.

    ``optimizer``: the student's, one or several.  ``train``: one batch, or K of them.  ``weigh``:
    StudentState -> weights [U] >= 0.  ``wrt``: tensors with requires_grad.  ``engine``: a name or an engine;
    "auto" is the cheapest exact one, "higher" the reference; a name is built, and its first-batch checks are
    made, at each call: in a loop give what ``build_engine`` gave.  ``center`` subtracts from dL/dw its mean
    over each batch's units, "class" that over the units of one given class; ``anchor`` then adds
    anchor * std(dL/dw) * (mean(w) - 1), a pull of the mean weight (of each class) to 1.
    ``max_norm``: gradient clipping inside the step.  ``scope``: names of submodules; the inner step of
    all other parameters then counts as a constant, which is cheaper and no longer exact.  ``rates``: K
    times the learning rate of each parameter group, where it changes within the window.  ``gathered``:
    parameter name -> gradient that is there already, to which ``share`` times that of the first train batch
    is added, as where a step has several micro-batches.  ``check_every``: batches after which an engine's
    answer is held against reverse mode of the real loss again, beside those where something has changed; 0:
    never; what is seen at once, and what then only, says ``watch``.  ``scale``: StudentState -> what the
    slopes dL/dw of its units are divided by, before they are centred; None: nothing.  ``weigh_meta``:
    positions [U] of trusted units -> what they count in the meta loss, constants whose mean is made 1; None:
    all alike.  Module, buffers, optimizer and random state are left bit for bit.  One call runs at a time;
    other threads wait.
    Raises NonFiniteError for a NaN, EngineError where the engine cannot differentiate the student,
    KeyError for an unknown submodule, TypeError or ValueError for an optimizer whose step cannot be
    differentiated through.
    """
    require_student(student)
    refuse_parted_statistics(student)
    optimizer = as_one(optimizer)
    refuse_sparse(student.module)
    solver, center = build_engine(engine), checked_center(center)
    batches = (train,) if isinstance(train, Batch) else tuple(train)
    if not batches:
        raise ValueError("train is a Batch or a list of K of them, got an empty list")
    if center == "class":
        refuse_positions(student, batches[0])
    most = solver.abilities.steps
    if most is not None and len(batches) > most:
        raise ValueError(
            f"engine {engine!r} unrolls {most} inner step(s), got {len(batches)} batches; "
            "engine='higher' takes any number"
        )
    sight = scale is not None or center == "class"
    sighted = Sighted(weigh)
    problem = Problem(
        student,
        optimizer,
        batches,
        meta,
        sighted if sight else weigh,
        max_norm,
        progress,
        recorded,
        scope_of(student, scope),
        checked_rates(rates, len(batches), optimizer),
        gathered or {},
        share,
        check_every,
        weigh_meta,
    )
    with alone(), forked_rng(student.device), attention_for(solver), torch.enable_grad():
        solution = solver.solve(problem) if solver.abilities.asks_others else answer(solver, problem)
    for index, slope in zip(solution.index, solution.slopes, strict=True):
        require_finite("hypergradient", slope, index)
    own = solution.slopes
    states = (solution.states or (sighted.seen[-1],)) if sight else ()
    if scale is not None:
        own = tuple(unscaled(s, scale(state)) for s, state in zip(own, states, strict=True))
    labels = (state.targets for state in states) if sight else (batch.targets for batch in batches)
    slopes = tuple(
        steered(s, w.detach(), center, anchor, given)
        for s, w, given in zip(own, solution.weights, labels, strict=True)
    )
    grads = _pull_back(solution.weights, slopes, wrt)
    for device in dict.fromkeys(grad.device for grad in grads):
        flat = torch.cat([grad.flatten() for grad in grads if grad.device == device])
        doubt(~flat.isfinite().all(), _refuse_gradient)
    return HyperGradient(
        grads=grads,
        meta_loss=solution.meta.losses.mean(),
        stats=Numbers(
            {
                "slope_norm": torch.stack([s.norm() for s in slopes]).norm(),
                "slope_mean": torch.cat(solution.slopes).mean(),
            }
        ),
        weights=tuple(w.detach() for w in solution.weights),
        slopes=own,
        index=solution.index,
        meta_state=solution.meta.joined(progress),
        gradient=solution.gradient,
        end=solution.end,
        gradient_at=solution.gradient_at,
        states=solution.states,
    )


def _refuse_gradient() -> None:
    raise NonFiniteError("the teacher's gradient is NaN or infinite; look at its weights and learning rate")


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
