"""Engine ``reverse``: K inner steps, then the adjoint of each from the last to the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, Forward
from metaweight.core.randomness import RandomState
from metaweight.core.registry import did_you_mean
from metaweight.engines.abilities import Abilities
from metaweight.engines.adjoint import Adjoint, leaves_of
from metaweight.engines.base import Engine, Problem, Solution, registry
from metaweight.engines.checks import (
    EngineError,
    double_backward,
    refuse_compiled,
    refuse_gradient_hooks,
    refuse_parted_states,
    require_finite_losses,
)
from metaweight.engines.graph import Graph, checked_graph
from metaweight.engines.inner import InnerStep
from metaweight.engines.one_step import NO_INFLUENCE, joined_gradients, meta_pass
from metaweight.engines.pulled import GradientGraph, added
from metaweight.engines.replay import Momentum, Replay, Snapshots
from metaweight.engines.sight import Sight
from metaweight.engines.window import WindowEnd
from metaweight.student.moving import Buffers
from metaweight.student.student import Named

REPLAYS = ("momentum", "snapshots")
ADVICE = "no engine takes several steps of such a student; of one step, 'difference' may"


@registry.register("reverse")
class Reverse(Engine):
    """Algorithm 1 of Fan et al. (AAAI 2021): dL/dw of K steps with the memory of one.

    ``replay="momentum"`` recovers the trajectory by undoing SGD's momentum steps and stores no parameters;
    ``"snapshots"`` keeps them and takes any optimizer.  ``through_state``: the meta loss also depends on
    weights through what the teacher sees of later steps, as ``weigh`` is a function of the student's state;
    False, the paper's way, counts that as constant.

    Differences from the printed algorithm: (1) the learning rate of an adjoint step is that of its own inner
    step, so that it is exact where the rate changes; (2) the update's adjoint is one vector-Jacobian product
    through its pure rule, so dampening, decay, clipping and Adam are exact; (3) the first step is taken from
    the live parameters and not recovered.
    """

    summary = "exact, any number of inner steps in the memory of one; undoes momentum, or keeps snapshots"
    abilities = Abilities(steps=None, ends_window=True)
    advice = ADVICE

    def __init__(self, replay: str = "momentum", through_state: bool = False) -> None:
        if replay not in REPLAYS:
            raise ValueError(f"unknown replay {replay!r}.{did_you_mean(str(replay), REPLAYS)}")
        if not isinstance(through_state, bool):
            raise TypeError(f"through_state is True or False, got {through_state!r}")
        self.replay, self.through_state = replay, through_state

    def solve(self, problem: Problem) -> Solution:
        """See ``Engine``."""
        student = problem.student
        refuse_compiled(student)
        refuse_parted_states(student, self.through_state)
        refuse_gradient_hooks(student)
        inner = InnerStep.of(problem.optimizer, student.parameters(), problem.max_norm)
        if self.replay == "momentum":
            Momentum.check(problem.optimizer)
        start = {name: p.detach() for name, p in student.parameters().items()}
        replay: Replay = Momentum(start, inner) if self.replay == "momentum" else Snapshots(start)
        way = _Way(problem, start, inner, replay, self.through_state)
        for number in range(len(problem.train)):
            way.go(number)
        end = WindowEnd(way.parameters, way.inner, way.buffers, RandomState.of(student.device))

        meta, pull = meta_pass(problem, leaves_of(way.parameters), way.buffers, inner)
        if not pull:
            raise EngineError(NO_INFLUENCE)
        adjoint = Adjoint(pull, {})
        slopes: list[Tensor] = []
        with double_backward():
            for number in reversed(range(len(problem.train))):
                slope, adjoint = way.come_back(number, adjoint)
                slopes.insert(0, slope)
        return Solution(
            tuple(step.sight.weights for step in way.steps),
            tuple(slopes),
            meta,
            tuple(step.index for step in way.steps),
            way.gradient,
            end,
            states=tuple(step.sight.state for step in way.steps),
            graphs=tuple(step.graph for step in way.steps),
        )


@dataclass(frozen=True)
class _Step:
    """What one inner step needs to be taken again; all of it of a batch's size."""

    batch: Batch
    index: Tensor
    loss: Tensor
    """[U], as it was."""
    sight: Sight
    random: RandomState
    buffers: Mapping[str, Tensor]
    """Before the pass; tensors that a step leaves alone are shared with the one before."""
    graph: Graph
    """What the pass was made of."""


class _Way:
    """The K inner steps, out and back."""

    def __init__(
        self, problem: Problem, start: Named, inner: InnerStep, replay: Replay, through_state: bool
    ) -> None:
        self.problem, self.replay, self.through_state = problem, replay, through_state
        self.parameters, self.inner = start, inner
        recorded = problem.recorded
        self.buffers: Mapping[str, Tensor] = (
            problem.student.buffers() if recorded is None else recorded.buffers
        )
        self.steps: list[_Step] = []
        self.gradient: dict[str, Tensor] = {}

    def go(self, number: int) -> None:
        """Take the step ``number``: weights, gradient, update; without a graph but the teacher's."""
        problem, student, before = self.problem, self.problem.student, self.buffers
        inner, batch = self.inner.at(problem.rates_at(number)), problem.train[number]
        recorded = problem.recorded if number == 0 else None
        if recorded is not None:
            random, forward = recorded.random, recorded.forward
            after = student.buffers() if recorded.after is None else Buffers(recorded.after)
            leaves: Named = student.parameters()
        else:
            random, after, leaves = (
                RandomState.of(student.device),
                Buffers(before),
                leaves_of(self.parameters),
            )
            forward = student.functional(batch, leaves, after)
        require_finite_losses("train loss", forward)
        graph = checked_graph(forward.loss, len(problem.train))
        # theta_0 does not depend on any weight, so nothing passes through the first state
        sight = Sight.of(
            problem.weigh,
            forward.joined(problem.progress),
            through_state=self.through_state and number > 0,
        )
        weights, keep_graph = sight.weights.detach(), recorded is not None and recorded.keep_graph
        here = partial(joined_gradients, student, forward, weights, leaves, keep_graph=keep_graph)
        self.gradient = student.within(leaves, after, here)
        total = problem.step_gradient(number, self.gradient)
        with torch.no_grad():
            moved, successor = inner(self.parameters, total)
        self.replay.went(inner, total, moved, successor)
        losses = forward.loss.detach()
        self.steps.append(_Step(batch, sight.state.index, losses, sight, random, before, graph))
        self.parameters, self.inner = moved, successor
        self.buffers = after.shared_with(before)

    def come_back(self, number: int, adjoint: Adjoint) -> tuple[Tensor, Adjoint]:
        """dL/dw [U] of the step ``number`` and the adjoint before it, from the adjoint after it."""
        student, step = self.problem.student, self.steps[number]
        step.random.restore(student.device)
        with torch.no_grad():
            here = self.replay.back()
        leaves, buffers = leaves_of(here), Buffers(step.buffers)
        forward = student.functional(step.batch, leaves, buffers, taps=bool(step.sight.inputs))
        if number == 0:
            _require_same(step.loss, forward.loss)
        return student.within(leaves, buffers, lambda: self._pulled_back(number, adjoint, leaves, forward))

    def _pulled_back(
        self, number: int, adjoint: Adjoint, leaves: Named, forward: Forward
    ) -> tuple[Tensor, Adjoint]:
        step, problem = self.steps[number], self.problem
        graph = GradientGraph(forward, step.sight.weights, leaves, self.inner.options)
        total = problem.step_gradient(number, graph.gradient())
        with torch.no_grad():
            inner = self.replay.step(total)
        slope, before = graph.back(
            inner,
            total,
            adjoint,
            share=problem.share if number == 0 else 1.0,
            scope=problem.scope,
            # theta_0 is where it is: what it would change is nobody's to know
            inside=number > 0,
            keep_graph=bool(step.sight.inputs),
        )
        if step.sight.inputs:
            inside = [n for n in self.inner.options if problem.scope is None or n in problem.scope]
            more = step.sight.through_state(forward, slope, leaves, inside)
            before = replace(before, parameters=added(before.parameters, more))
        return slope, before


def _require_same(there: Tensor, here: Tensor) -> None:
    """Raise EngineError where the first pass, taken again at the same point, gives other losses."""
    tolerance = 1e-3 if here.dtype.itemsize < 8 else 1e-8
    if not torch.allclose(here, there, rtol=tolerance, atol=tolerance):
        raise EngineError(
            "a train pass taken again gives other losses: the student draws random numbers outside torch's "
            "generators or keeps state outside its buffers; use engine='double'"
        )
