"""Runs of K first-order steps whose weights are a little apart: a derivative by difference."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from metaweight.core.contracts import Batch
from metaweight.core.randomness import RandomState
from metaweight.engines.adjoint import leaves_of
from metaweight.engines.base import Problem, Sighted
from metaweight.engines.inner import InnerStep
from metaweight.engines.one_step import joined_gradients
from metaweight.student.moving import Buffers
from metaweight.student.student import Named

ERRORS = 10
"""Roundings that a gradient's numbers, sums of many, are typically off by, of their root mean square."""


class Runs:
    """K first-order steps from where the problem starts, and the meta loss there.

    ``apart``: K times [U], the direction in which the weights move.  ``shaken``: a generator; the start
    and each step's gradient are then off by what rounding in the student's own precision does to them.
    """

    def __init__(
        self,
        problem: Problem,
        random: RandomState,
        dtype: torch.dtype,
        weights: Sequence[Tensor],
        apart: Sequence[Tensor],
        *,
        through_state: bool,
        shaken: torch.Generator | None = None,
    ) -> None:
        self.problem, self.random, self.dtype = problem, random, dtype
        self.weights, self.apart, self.through_state = weights, apart, through_state
        self._shaken = shaken
        self._off: list[Named] = []
        """Of the start and of each step's gradient, the errors that rounding might have made."""
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
        self.unmoved = self._meta_loss(0.0)

    def slope(self, nudge: float) -> tuple[float, float]:
        """(the meta loss's derivative along ``apart``, by a central difference; what rounding may add)."""
        above, below = (self._meta_loss(sign * nudge) for sign in (1.0, -1.0))
        floor = 50 * torch.finfo(self.dtype).eps * max(abs(above), abs(below)) / nudge
        return (above - below) / (2 * nudge), floor

    def _meta_loss(self, h: float) -> float:
        """After steps at ``weights`` + h * ``apart``; the one at h = 0 comes first."""
        problem, student = self.problem, self.problem.student
        self.random.restore(student.device)
        everything = dict(student.module.named_parameters())
        still = {n: self._cast(p.detach()) for n, p in everything.items() if not p.requires_grad}
        parameters: Named = {n: self._cast(p.detach()) for n, p in student.parameters().items()}
        parameters = self._rounded(0, parameters)
        inner = InnerStep.of(problem.optimizer, student.parameters(), problem.max_norm)
        inner = replace(inner, states={n: self._state(state) for n, state in inner.states.items()})
        buffers = self._buffers({} if self.dtype == problem_dtype(problem) else still)
        for number, batch in enumerate(problem.train):
            leaves = leaves_of(parameters)
            forward = student.functional(
                self._batch(batch), leaves, buffers, taps=self.through_state, exact=True
            )
            w = self.weights[number]
            if self.through_state and number > 0:
                w = self._weigh(forward.state(problem.progress)).detach()
            w = self._cast(w) + h * self._cast(self.apart[number])
            here = partial(joined_gradients, student, forward, w, leaves)
            gradient = student.within(leaves, buffers, here)
            parameters, inner = self._stepped(number, parameters, gradient, inner, h)
        meta = student.without_graph(
            lambda: student.functional(self._batch(problem.meta), parameters, buffers, taps=False, exact=True)
        )
        return problem.joined_meta_loss(meta)

    @torch.no_grad()
    def _stepped(
        self, number: int, parameters: Named, gradient: Named, inner: InnerStep, h: float
    ) -> tuple[Named, InnerStep]:
        """The parameters after a step; those out of scope where unmoved weights (h = 0) lead them."""
        scope, base = self.problem.scope, h == 0
        if scope is not None and base:
            self._constant.append({n: g for n, g in gradient.items() if n not in scope})
        elif scope is not None:
            gradient = {**gradient, **self._constant[number]}
        gradient = self._rounded(1 + number, self.problem.step_gradient(number, gradient))
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

    def _rounded(self, place: int, values: Named) -> Named:
        """Off by the same errors in each run; the first of them draws these."""
        if self._shaken is None:
            return values
        if len(self._off) == place:
            eps = torch.finfo(problem_dtype(self.problem)).eps
            size = ERRORS * eps if place else eps
            self._off.append({n: size * self._errors(value, place > 0) for n, value in values.items()})
        return {n: value + self._off[place][n] for n, value in values.items()}

    def _errors(self, value: Tensor, summed: bool) -> Tensor:
        """Of numbers each by its own size, of sums by the size of all; what is 0 is 0 for sure."""
        draw = torch.randn(value.shape, generator=self._shaken, dtype=torch.float64).to(value.device)
        if not summed:
            return draw * value
        root = value.abs().square().mean().sqrt()
        return draw * root * (value != 0)

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
