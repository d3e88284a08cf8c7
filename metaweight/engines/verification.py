"""Independent routes to what an engine answers: reverse mode of the real loss, or a difference of runs.

Nothing here differentiates a gradient: a backward that has none itself, or another one than its own, cannot
hide.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from metaweight.core.contracts import Batch
from metaweight.core.randomness import RandomState
from metaweight.engines.adjoint import leaves_of
from metaweight.engines.base import Engine, Problem, Recorded, Sighted, Solution, virtual_pass
from metaweight.engines.checks import described
from metaweight.engines.graph import Graph, suspects
from metaweight.engines.inner import InnerStep
from metaweight.engines.one_step import (
    direction_of,
    inner_product,
    joined_gradients,
    norms,
    rounding,
    saturated,
)
from metaweight.student.moving import Buffers
from metaweight.student.student import Named

PROJECTIONS = 3
"""Random projections of the slopes at a student's first batch; later one."""
NUDGES = {True: (1e-5, 1e-7), False: (3e-2,)}
"""By which weights are moved for a difference of runs: in float64, and with fewer digits.  A second is for
runs that the first carries over a kink (of a ReLU, a largest value): behind it their gradients jump."""


class Verification:
    """The state that a problem starts from, kept until the engine has answered."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        device, recorded = problem.student.device, problem.recorded
        self._random = recorded.random if recorded is not None else RandomState.of(device)
        self._meta_random = RandomState.of(device)
        """In front of the meta pass, where the train pass was made before."""
        own = hash(tuple(map(float, self._random.cpu[:8]))) % 2**31
        (seed, *_), *_ = problem.student.processes.told([own])
        self._draw = torch.Generator().manual_seed(seed)

    def require(self, engine: Engine, solution: Solution, *, first_time: bool) -> None:
        """Raise EngineError where the engine's answer is not what the independent route gives."""
        problem = self.problem
        if len(problem.train) > 1:
            if engine.abilities.exact:
                self._require_window(engine, solution, first_time)
            return
        if solution.direction is None and not engine.abilities.exact:
            return
        self._require_step(engine, solution, first_time)

    def _require_step(self, engine: Engine, solution: Solution, first_time: bool) -> None:
        problem, student = self.problem, self.problem.student
        inner = InnerStep.of(problem.optimizer, student.parameters(), problem.max_norm)
        inner = inner.at(problem.rates_at(0))
        recorded = problem.recorded or self._pass()
        forward, weights = recorded.forward, solution.weights[0].detach()
        loss, losses = forward.loss, forward.losses
        tolerance = engine.tolerance(Graph.of(loss).lowest)

        def gradient(scale: Tensor) -> dict[str, Tensor]:
            return joined_gradients(student, forward, scale, student.parameters(), keep_graph=True)

        direction = solution.direction
        if direction is None:
            real = gradient(weights)
            self._same_gradient(engine, solution.gradient, real, loss, tolerance, first_time)
            if problem.recorded is not None:
                self._meta_random.restore(student.device)
            _, direction = direction_of(problem, recorded, real, inner)
        for _ in range(PROJECTIONS if first_time else 1):
            scale = self._projection(losses)
            real = gradient(scale)
            if solution.gradient_at is not None:
                self._same_gradient(engine, solution.gradient_at(scale), real, loss, tolerance, first_time)
            terms, there = scale * solution.slopes[0], inner_product(real, direction, student)
            off = (terms.sum() - there).abs()
            allowed = tolerance * _norm(terms) + rounding(real, direction, student)
            if bool(off > allowed) and not saturated(terms, losses):
                self._refuse(engine, float(terms.sum()), float(there), loss, first_time)

    def _require_window(self, engine: Engine, solution: Solution, first_time: bool) -> None:
        """Two runs whose weights are a little apart, K first-order steps each."""
        weights = [w.detach() for w in solution.weights]
        apart = [self._projection(w) for w in weights]
        here = torch.cat([d * s for d, s in zip(apart, solution.slopes, strict=True)])
        run = self._run(engine, solution, weights, apart)
        bend = 1e-5 if run.dtype == torch.float64 else 0.0
        allowed = (engine.tolerance(here.dtype) + bend) * float(_norm(here))
        slopes = []
        for nudge in NUDGES[run.dtype.itemsize >= 8]:
            above, below = (run.meta_loss(weights, apart, sign * nudge) for sign in (1.0, -1.0))
            slopes.append((above - below) / (2 * nudge))
            floor = 50 * torch.finfo(run.dtype).eps * max(abs(above), abs(below)) / nudge
            if abs(float(here.sum()) - slopes[-1]) <= floor + allowed:
                return
        self._refuse(engine, float(here.sum()), slopes[0], self._pass().forward.loss, first_time)

    def _run(
        self, engine: Engine, solution: Solution, weights: Sequence[Tensor], apart: Sequence[Tensor]
    ) -> _Run:
        """Runs in float64, or in the student's own precision where it is another student in float64."""
        problem, own = self.problem, problem_dtype(self.problem)
        known = problem.joined_meta_loss(solution.meta)
        for dtype in dict.fromkeys((torch.float64, own)):
            run = _Run(problem, self._random, engine.through_state, dtype)
            try:
                here = run.meta_loss(weights, apart, 0.0)
            except (RuntimeError, TypeError, ValueError):
                if dtype == own:
                    raise
                continue  # a part of the student knows its own precision only
            if dtype == own or abs(here - known) <= 1e-2 * abs(known) + 1e-6:
                return run
            # it draws other masks in float64, or computes with other digits anyway
        raise AssertionError("the student's own precision is the last that is tried")

    def _pass(self) -> Recorded:
        student, batch = self.problem.student, self.problem.train[0]
        self._random.restore(student.device)
        return virtual_pass(student, batch, nullcontext(), taps=False)

    def _projection(self, like: Tensor) -> Tensor:
        """Signs and sizes [U] of no pattern, from a generator of its own."""
        size = 0.5 + torch.rand(len(like), generator=self._draw, dtype=torch.float64)
        sign = torch.randint(0, 2, (len(like),), generator=self._draw) * 2 - 1
        return (size * sign).to(like.device, like.dtype)

    def _same_gradient(
        self, engine: Engine, ours: Named, real: Named, loss: Tensor, tolerance: float, first_time: bool
    ) -> None:
        """Parameter by parameter: this names the part."""
        if not real:
            return
        student = self.problem.student
        off = (g - ours[name] if name in ours else g for name, g in real.items())
        sizes, errors = norms(real.values(), student), norms(off, student)
        # a gradient that is zero but for rounding (a key's bias in attention) has no digits to compare
        floor = 1e-3 * _norm(sizes)
        for name, norm, error in zip(real, sizes, errors, strict=True):
            if bool(error > tolerance * (norm + floor)):
                part = described(student.module, student.module.get_submodule(name.rpartition(".")[0]))
                share = f"{float(error / norm):.1e} of the real loss's"
                what = f"its gradient of {name!r} of {part} is off by {share}"
                engine.refuse(engine.objection(what, suspects(student, loss)), first_time=first_time)
                return

    def _refuse(self, engine: Engine, here: float, there: float, loss: Tensor, first_time: bool) -> None:
        found = suspects(self.problem.student, loss)
        engine.refuse(engine.contradiction(here, there, found), first_time=first_time)


class _Run:
    """K first-order steps from where the problem starts, and the meta loss there."""

    def __init__(
        self, problem: Problem, random: RandomState, through_state: bool, dtype: torch.dtype
    ) -> None:
        self.problem, self.random, self.through_state, self.dtype = problem, random, through_state, dtype
        self._weigh = problem.weigh.weigh if isinstance(problem.weigh, Sighted) else problem.weigh
        if through_state and isinstance(self._weigh, nn.Module):
            # the rounding of a teacher with fewer digits is larger than what a nudge does to its weights
            self._weigh = copy.deepcopy(self._weigh).to(dtype)
        self._constant: list[Named] = []
        """Of each step, what is out of scope: its gradients at unmoved weights."""
        self._still: list[Named] = []
        """And the parameters that they lead to."""
        self._rounding: list[Named] = []
        """Of each step, what its update's rounding adds: a difference of runs would see that alone."""

    def meta_loss(self, weights: Sequence[Tensor], apart: Sequence[Tensor], h: float) -> float:
        """The meta loss after steps at ``weights`` + h * ``apart``, K times [U]."""
        problem, student = self.problem, self.problem.student
        self.random.restore(student.device)
        everything = dict(student.module.named_parameters())
        still = {n: self._cast(p.detach()) for n, p in everything.items() if not p.requires_grad}
        parameters: Named = {n: self._cast(p.detach()) for n, p in student.parameters().items()}
        inner = InnerStep.of(problem.optimizer, student.parameters(), problem.max_norm)
        inner = replace(inner, states={n: self._state(state) for n, state in inner.states.items()})
        buffers = self._buffers({} if self.dtype == problem_dtype(problem) else still)
        for number, batch in enumerate(problem.train):
            leaves = leaves_of(parameters)
            forward = student.functional(
                self._batch(batch), leaves, buffers, taps=self.through_state, exact=True
            )
            w = weights[number]
            if self.through_state and number > 0:
                w = self._weigh(forward.state(problem.progress)).detach()
            w = self._cast(w) + h * self._cast(apart[number])
            here = partial(joined_gradients, student, forward, w, leaves)
            gradient = student.within(leaves, buffers, here)
            parameters, inner = self._stepped(number, parameters, gradient, inner, h)
        meta = student.without_graph(
            lambda: student.functional(self._batch(problem.meta), parameters, buffers, taps=False, exact=True)
        )
        return problem.joined_meta_loss(meta)

    @torch.no_grad()
    def _stepped(
        self, number: int, parameters: Named, gradient: dict[str, Tensor], inner: InnerStep, h: float
    ) -> tuple[Named, InnerStep]:
        """The parameters after a step; those out of scope where unmoved weights (h = 0) lead them."""
        scope, base = self.problem.scope, h == 0
        if scope is not None and base:
            self._constant.append({n: g for n, g in gradient.items() if n not in scope})
        elif scope is not None:
            gradient = {**gradient, **self._constant[number]}
        gradient = self.problem.step_gradient(number, gradient)
        step = inner.at(self.problem.rates_at(number))
        successors, inner = step(parameters, gradient)
        if step.rounds:
            exact, _ = step.unrounded()(parameters, gradient)
            if base:
                self._rounding.append({n: p - exact[n] for n, p in successors.items()})
            successors = {n: p + self._rounding[number][n] for n, p in exact.items()}
        if scope is not None and base:
            self._still.append({n: p for n, p in successors.items() if n not in scope})
        elif scope is not None:
            successors = {**successors, **self._still[number]}
        return successors, inner

    def _cast(self, value: Tensor) -> Tensor:
        if value.is_complex():
            return value.to(self.dtype.to_complex())
        return value.to(self.dtype) if value.is_floating_point() else value

    def _state(self, state: Mapping[str, object]) -> dict[str, object]:
        return {key: self._cast(v) if isinstance(v, Tensor) else v for key, v in state.items()}

    def _buffers(self, still: Named) -> Buffers:
        buffers = self.problem.student.buffers()
        buffers.update({name: self._cast(value) for name, value in {**still, **buffers}.items()})
        return buffers

    def _batch(self, batch: Batch) -> Batch:
        inputs, targets = tree_map_only(Tensor, self._cast, (batch.inputs, batch.targets))
        return replace(batch, inputs=inputs, targets=targets)


def problem_dtype(problem: Problem) -> torch.dtype:
    """The floating type of the student's parameters."""
    return next(iter(problem.student.parameters().values())).dtype.to_real()


def _norm(value: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(value)
    return norm
