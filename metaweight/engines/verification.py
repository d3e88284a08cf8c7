"""Independent routes to what an engine answers: reverse mode of the real loss, or a difference of runs.

Nothing here differentiates a gradient: a backward that has none itself, or another one than its own, cannot
hide.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from statistics import median

import torch
from torch import Tensor

from metaweight.core.randomness import RandomState
from metaweight.engines.base import Engine, Problem, Recorded, Solution, virtual_pass
from metaweight.engines.checks import described
from metaweight.engines.graph import Graph, suspects
from metaweight.engines.inner import InnerStep
from metaweight.engines.nudged import Runs, problem_dtype
from metaweight.engines.one_step import (
    direction_of,
    inner_product,
    joined_gradients,
    norms,
    rounding,
    saturated,
)
from metaweight.student.student import Named

PROJECTIONS = 3
"""Random projections of the slopes at a student's first batch; later one."""
NUDGES = {True: (1e-5, 1e-7, 1e-9), False: (3e-2,)}
"""By which weights are moved for a difference of runs: in float64, and with fewer digits.  The nearer ones
are for runs that the first carries over a kink (of a ReLU, a largest value): behind it their gradients jump,
and a large student has so many that one lies within 1e-7."""
ROUGH = 0.05
"""A nearer nudge says something only where its rounding is below that share of the slopes."""
UNSTEADY = 4.0
"""Changes by rounding that an answer may be away from what is true."""


class UnsteadyWarning(UserWarning):
    """A meta-gradient through several steps of which rounding has left few digits."""


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
        """Runs whose weights are a little apart, K first-order steps each."""
        weights = [w.detach() for w in solution.weights]
        apart = [self._projection(w) for w in weights]
        each = torch.cat([d * s for d, s in zip(apart, solution.slopes, strict=True)])
        own = problem_dtype(self.problem)
        made = partial(
            Runs, self.problem, self._random, weights=weights, apart=apart, through_state=engine.through_state
        )
        runs, shaken = self._runs(made, self.problem.joined_meta_loss(solution.meta))
        bend = 1e-5 if runs.dtype == torch.float64 else 0.0
        here, size = float(each.sum()), float(_norm(each))
        allowed = (engine.tolerance(each.dtype) + bend) * size
        slopes: list[float] = []
        for nudge in NUDGES[runs.dtype.itemsize >= 8]:
            slope, floor = runs.slope(nudge)
            if slopes and floor > ROUGH * size:
                break
            slopes.append(slope)
            if abs(here - slope) <= floor + allowed:
                return
        there = min(slopes, key=lambda slope: abs(here - slope))
        if runs.dtype.itemsize > own.itemsize:
            shaken = shaken or self._shaken(made)
            off = median(abs(run.slope(NUDGES[True][-1])[0] - there) for run in shaken)
            if abs(here - there) <= UNSTEADY * off:
                warnings.warn(
                    f"of the meta-gradient through {len(weights)} inner steps, few digits are left in {own}: "
                    f"a start that is rounded otherwise changes it by {off / size:.0%}, as these steps "
                    "magnify what is small. Fewer steps, a lower learning rate, warm-up or float64 make it "
                    "steady",
                    UnsteadyWarning,
                    stacklevel=5,
                )
                return
        self._refuse(engine, here, there, self._pass().forward.loss, first_time)

    def _runs(self, made: Callable[..., Runs], known: float) -> tuple[Runs, list[Runs]]:
        """Runs in float64, or in the student's own precision where it is another student in float64; such
        as rounding has shaken, where these were needed to tell.

        ``known``: the meta loss that the engine ended at.
        """
        own, shaken = problem_dtype(self.problem), list[Runs]()
        for dtype in dict.fromkeys((torch.float64, own)):
            try:
                runs = made(dtype)
            except (RuntimeError, TypeError, ValueError):
                if dtype == own:
                    raise
                continue  # a part of the student knows its own precision only
            away = abs(runs.unmoved - known)
            if dtype == own or away <= 1e-2 * abs(known) + 1e-6:
                return runs, []
            # it draws other masks in float64, or computes with other digits anyway, or magnifies rounding
            shaken = self._shaken(made)
            if away <= UNSTEADY * median(abs(run.unmoved - runs.unmoved) for run in shaken):
                return runs, shaken
        raise AssertionError("the student's own precision is the last that is tried")

    def _shaken(self, made: Callable[..., Runs]) -> list[Runs]:
        return [made(torch.float64, shaken=self._draw) for _ in range(PROJECTIONS)]

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


def _norm(value: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(value)
    return norm
