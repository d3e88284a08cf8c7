"""Engine ``difference``: inner products by finite differences of the losses along u."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from metaweight.core.contracts import Forward
from metaweight.core.reads import doubt
from metaweight.core.weakly import PerObject
from metaweight.engines.abilities import Abilities
from metaweight.engines.base import registry
from metaweight.engines.checks import EngineError, described, require_finite_losses
from metaweight.engines.graph import Graph
from metaweight.engines.one_step import Differentiated, OneStep, TrainPass, norms
from metaweight.student.moving import Buffers
from metaweight.student.student import Named

STEPS = {
    2: {torch.float64: 1e-7, torch.float32: 2e-5},
    1: {torch.float64: 1e-8, torch.float32: 5e-6},
}
"""Sides -> share of the parameters' norm that a step moves, by the type of fewest digits in a pass: where the
student's bend and rounding cost least together; bfloat16 and float16 leave nothing.  In float32 the error
is then 0.03 to 0.1 % on ResNet-32, a Transformer and an MLP with two sides, 0.1 to 0.6 % with one."""
DROWNING = 0.95
"""Share of u's norm from which entries whose gradient is 0 get a step of their own: the others' share of a
common one would be a third or less."""


class DifferenceWarning(UserWarning):
    """Differences have lost their digits: the student bends, or rounds, within one step."""


@registry.register("difference")
class FiniteDifferences(OneStep):
    """<u, grad loss_i> = (loss_i(theta + h u) - loss_i(theta - h u)) / 2h: two passes without a graph.

    ``sides=1``: (loss_i(theta + h u) - loss_i(theta)) / h, with the losses that are there already: one pass,
    and an error that shrinks with h instead of its square.
    h makes |h u| the share ``step`` of |theta| (over the parameters that u moves); None: see ``STEPS``.
    u is split, at the cost of as many passes again, where entries whose gradient is 0 make up most of it: an
    adaptive optimizer's step is steepest there, by 1 / eps, and words of the meta batch that the train batch
    lacks would drown all others.
    Needs no second derivative of any kind: fused attention and custom functions work.  Under autocast the
    passes run in the parameters' own precision, for bfloat16 would round most of such a step away; the losses
    that are there are then of no use, and ``sides=1`` raises EngineError.
    """

    summary = "approximate (float32: below 1e-3), one inner step; two forward passes without a graph"
    abilities = Abilities(exact=False, written_out_attention=False, sharded=True)
    suspicion = (
        "the student's losses are too rough for differences, or it draws random numbers that nobody can draw "
        "again"
    )
    advice = "use engine='forward' or 'double', or another step (FiniteDifferences(step=...))"

    def __init__(self, step: float | None = None, *, sides: int = 2) -> None:
        super().__init__()
        if sides not in STEPS:
            raise ValueError(f"sides is 1 or 2, got {sides!r}")
        if step is not None and not 0 < step < 1:
            raise ValueError(f"step is a share of the parameters' norm in (0, 1), got {step}")
        self.step, self.sides = step, sides
        self._warned = False
        self._precisions: PerObject[nn.Module, dict[torch.dtype, torch.dtype]] = PerObject(dict)
        self._first = True

    def differentiate(self, train: TrainPass, weights: Tensor) -> Shifted:
        """See ``OneStep``."""
        known = self._precisions[train.student.module]
        self._first = not known
        if train.loss.dtype not in known:
            known[train.loss.dtype] = Graph.of(_exact_pass(train).loss).lowest
        lowest = known[train.loss.dtype]
        if lowest not in STEPS[self.sides]:
            raise EngineError(
                f"{_rounding(train, lowest)} computes in {lowest}, which rounds a difference away; use "
                + ("engine='double' or 'forward'" if train.student.sharded is None else "engine='ghost'")
            )
        if self.sides == 1 and Graph.of(train.loss).lowest != lowest:
            raise EngineError(
                "sides=1 takes a difference to the losses under autocast, whose rounding is larger than it; "
                "use sides=2"
            )
        return Shifted(train, weights, self.step or STEPS[self.sides][lowest], self.sides)

    def tolerance(self, dtype: torch.dtype) -> float:
        """See ``Engine``."""
        return 1e-3 if dtype.itemsize >= 8 else 5e-2

    def refuse(self, message: str, *, first_time: bool) -> None:
        """An error at the first batch; later, where a student may bend for a while, one warning."""
        if first_time or self._first:
            raise EngineError(message)
        if not self._warned:
            self._warned = True
            warnings.warn(message, DifferenceWarning, stacklevel=6)


class Shifted(Differentiated):
    """The train pass once more on one side of theta, or on either."""

    def __init__(self, train: TrainPass, weights: Tensor, step: float, sides: int) -> None:
        self._train, self._step, self._sides = train, step, sides
        self.gradient = train.gradients((weights * train.loss).mean(), keep_graph=train.keep_graph)
        if sparse := [name for name, g in self.gradient.items() if g.is_sparse]:
            raise EngineError(
                f"the gradient of {sparse[0]!r} is sparse, and no direction to differ along; build its "
                "embedding with sparse=False, or use engine='double'"
            )

    def slopes(self, direction: Named) -> Tensor:
        """See ``Differentiated``."""
        return torch.stack([self._along(part) for part in self._apart(direction)]).sum(0)

    def _apart(self, direction: Named) -> list[Named]:
        """``direction``, or two that sum up to it: where there is a gradient, and where it is 0."""
        zero = {n: self.gradient[n] == 0 for n in direction}
        still = self._norm({n: u * zero[n] for n, u in direction.items()})
        if not bool(still > DROWNING * self._norm(direction)):
            return [direction]
        return [
            {n: u.masked_fill(zero[n], 0) for n, u in direction.items()},
            {n: u.masked_fill(~zero[n], 0) for n, u in direction.items()},
        ]

    def _along(self, direction: Named) -> Tensor:
        """<direction, grad loss_i> [U]."""
        student = self._train.student
        parameters = student.own(student.parameters())
        length = self._norm(direction)
        moves = length > 0  # not along zero, nor along NaN, which ``hypergradient`` reports
        scale = self._norm({name: parameters[name] for name in direction})
        h = self._step * scale / length.where(moves, torch.ones_like(length))
        doubt(moves & ~(h > 0), _refuse_no_scale)
        here = self._train.loss.detach()
        above = self._losses(parameters, direction, h, moves)
        below = here if self._sides == 1 else self._losses(parameters, direction, -h, moves)
        return ((above - below) / (self._sides * h).to(above.dtype)).where(moves, here * length)

    def _losses(self, parameters: Named, direction: Named, h: Tensor, moves: Tensor) -> Tensor:
        student, recorded = self._train.student, self._train.recorded
        recorded.random.restore(student.device)
        place = {n: torch.addcmul(p, direction[n], h) if n in direction else p for n, p in parameters.items()}

        def shifted() -> Forward:
            buffers = Buffers(recorded.buffers)
            return student.functional(self._train.batch, place, buffers, taps=False, exact=True)

        with torch.autocast(student.device.type, enabled=False):
            forward = student.without_graph(shifted)
        require_finite_losses("train loss a step along the hypergradient", forward, where=moves)
        return forward.loss

    def _norm(self, values: Named) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(norms(values.values(), self._train.student))
        return norm


def _refuse_no_scale() -> None:
    raise EngineError("the parameters are all zero: there is no scale for a difference; use engine='forward'")


def _exact_pass(train: TrainPass) -> Forward:
    """The train pass again without autocast."""
    student, recorded = train.student, train.recorded
    recorded.random.restore(student.device)
    with torch.autocast(student.device.type, enabled=False):
        buffers = Buffers(recorded.buffers)
        return student.functional(train.batch, {}, buffers, taps=False, exact=True)


def _rounding(train: TrainPass, lowest: torch.dtype) -> str:
    """The first part of the student that gives or holds ``lowest``, for people."""
    module = train.student.module
    parts: list[nn.Module] = []

    def see(part: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dtype == lowest:
            parts.append(part)

    handle = register_module_forward_hook(see)
    try:
        _exact_pass(train)
    finally:
        handle.remove()
    return described(module, parts[0]) if parts else "the student"
