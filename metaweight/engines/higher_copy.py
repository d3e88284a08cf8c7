"""Engine ``higher``: a monkeypatched copy of the student takes the inner steps; reverse mode through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from metaweight.core.contracts import Batch
from metaweight.core.parts import Part
from metaweight.core.randomness import RandomState
from metaweight.core.weakly import PerObject
from metaweight.engines.abilities import Abilities
from metaweight.engines.adjoint import leaves_of
from metaweight.engines.base import Engine, Problem, Solution, registry
from metaweight.engines.checks import (
    EngineError,
    double_backward,
    refuse_gradient_hooks,
    refuse_parted_states,
    require_finite_losses,
)
from metaweight.engines.graph import Graph, checked_graph
from metaweight.engines.inner import InnerStep
from metaweight.engines.one_step import gradients
from metaweight.engines.patched import patched, saving_hooks
from metaweight.engines.sight import Sight, passing
from metaweight.engines.window import WindowEnd
from metaweight.student.moving import Buffers
from metaweight.student.student import Student


@registry.register("higher")
class HigherCopy(Engine):
    """Exact for any K; memory and time of double backward (about 5.5 plain steps at K = 1).

    ``through_state``: see ``Reverse``.
    """

    summary = "exact, any number of inner steps; double backward through a monkeypatched copy of the student"
    abilities = Abilities(steps=None, ends_window=True)

    def __init__(self, through_state: bool = False) -> None:
        if not isinstance(through_state, bool):
            raise TypeError(f"through_state is True or False, got {through_state!r}")
        self.through_state = through_state
        self._checked: PerObject[nn.Module, list[bool]] = PerObject(list)
        """Of each module, whether its passes have something to do again in their backward."""

    def solve(self, problem: Problem) -> Solution:
        """See ``Engine``."""
        student, module = problem.student, problem.student.module
        refuse_gradient_hooks(student)
        refuse_parted_states(student, self.through_state)
        inner = InnerStep.of(problem.optimizer, student.parameters(), problem.max_norm)
        if not self._checked[module]:
            self._checked[module].append(_check_copy(student, problem.train[0]))
        if len(problem.train) > 1 and any(self._checked[module]):
            raise EngineError(
                "the student computes parts again in its backward (checkpoint), which in a window would be "
                "on later parameters; use engine='reverse'"
            )
        recorded = problem.recorded
        buffers = student.buffers() if recorded is None else Buffers(recorded.buffers)
        if recorded is not None:
            recorded.random.restore(student.device)
        parameters = leaves_of(student.parameters())
        scope = problem.scope
        still = frozenset() if scope is None else frozenset(n for n in parameters if n not in scope)
        steps: list[_Step] = []
        gradient: dict[str, Tensor] = {}
        with student.moving.visited(buffers), double_backward(), patched(student, buffers) as copy:
            for number, batch in enumerate(problem.train):
                copy.stand_on(parameters)
                forward = copy.run(batch)
                require_finite_losses("train loss", forward)
                graph = checked_graph(forward.loss, len(problem.train))
                source = recorded.forward if recorded is not None and number == 0 else forward
                # theta_0 does not depend on any weight, so nothing passes through the first state
                through = self.through_state and number > 0
                sight = Sight.of(problem.weigh, source.joined(problem.progress), through_state=through)
                views = passing(forward.state(detached=False)) if through else ()
                part = forward.part
                leaf = part.own(sight.weights.detach()).requires_grad_()
                steps.append(_Step(sight, views, leaf, part, graph))
                rows = gradients((leaf * forward.loss).mean(), parameters, create_graph=True)
                gradient = part.whole_gradient(rows, parameters, differentiable=True)
                own = problem.step_gradient(
                    number, {n: g.detach() if n in still else g for n, g in gradient.items()}
                )
                successors, inner = inner.at(problem.rates_at(number))(parameters, own)
                parameters = {n: _leaf(p) if n in still else p for n, p in successors.items()}
            copy.stand_on(parameters)
            end = WindowEnd(
                {name: p.detach() for name, p in parameters.items()},
                inner.detached(),
                copy.buffers(),
                RandomState.of(student.device),
            )
            meta = copy.run(problem.meta)
            require_finite_losses("meta loss", meta)
            slopes = _slopes(problem.meta_loss(meta) * meta.part.share, steps)
        if all(slope is None for slope in slopes):
            raise EngineError(
                "the meta loss does not depend on the weights: no parameter that the optimizer moves has an "
                "influence on the meta batch; check the optimizer's parameters"
            )
        filled = (torch.zeros_like(s.leaf) if g is None else g for g, s in zip(slopes, steps, strict=True))
        joined = (step.part.join(slope) for step, slope in zip(steps, filled, strict=True))
        return Solution(
            tuple(step.sight.weights for step in steps),
            tuple(joined),
            meta,
            tuple(step.sight.state.index for step in steps),
            {name: g.detach() for name, g in gradient.items()},
            end,
            states=tuple(step.sight.state for step in steps),
            graphs=tuple(step.graph for step in steps),
        )


@dataclass(frozen=True)
class _Step:
    """One inner step of the copy."""

    sight: Sight
    views: tuple[Tensor, ...]
    """What the teacher saw, with the copy's graph; none where that counts as constant."""
    leaf: Tensor
    """[U], the weights that the step was taken with."""
    part: Part
    graph: Graph
    """What the pass was made of."""


def _leaf(parameter: Tensor) -> Tensor:
    """Where a step counts as constant; of what is out of scope, the factor that clips is one too."""
    return parameter.detach().requires_grad_()


def _slopes(meta_loss: Tensor, steps: Sequence[_Step]) -> Sequence[Tensor | None]:
    """dL/dw of each step; where weights depend on the state, the later ones' slopes reach the earlier."""
    if not any(step.views for step in steps):
        return torch.autograd.grad(meta_loss, [step.leaf for step in steps], allow_unused=True)
    outputs, pulls = [meta_loss], [torch.ones_like(meta_loss)]
    slopes: list[Tensor | None] = []
    for step in reversed(steps):
        (slope,) = torch.autograd.grad(outputs, [step.leaf], pulls, allow_unused=True, retain_graph=True)
        slopes.insert(0, slope)
        if slope is not None:
            through = zip(step.views, step.sight.pull_back(slope), strict=True)
            pairs = [(part, pull) for part, pull in through if pull is not None]
            outputs += [part for part, _ in pairs]
            pulls += [pull for _, pull in pairs]
    return slopes


def _check_copy(student: Student, batch: Batch) -> bool:
    """Whether passes have hooks on what they save.

    Raises EngineError for a student whose copy runs (parts of) the original, whose fast weights would move
    nothing: a bound method kept as an attribute, and forward hooks that compute (higher #103), do that
    silently.
    """
    random, names = RandomState.of(student.device), list(student.parameters())
    buffers = student.buffers()
    fast = leaves_of(student.parameters())
    with student.moving.visited(buffers), patched(student, buffers) as copy:
        copy.stand_on(fast)
        with saving_hooks() as entered:
            there = copy.run(batch).loss
        checked_graph(there, 1)
        ours = gradients(there.sum(), fast)
    random.restore(student.device)
    forward = student.functional(batch, {}, student.buffers())
    here = forward.loss
    require_finite_losses("train loss", forward)
    expected = gradients(here.sum(), student.parameters())
    random.restore(student.device)
    strays = [name for name in names if name in expected and name not in ours]
    advice = "call submodules by self.name(...) in forward, or use engine='forward'"
    if strays:
        raise EngineError(
            f"higher's copy of the student does not use its own {', '.join(strays[:3])}"
            f"{' and others' if len(strays) > 3 else ''}: is a bound method kept as an attribute? {advice}"
        )
    tolerance = 1e-3 if here.dtype.itemsize < 8 else 1e-8
    if not torch.allclose(here, there, rtol=tolerance, atol=tolerance):
        raise EngineError(
            "higher's copy of the student gives another output than the student: are there forward hooks "
            f"that change it (spectral_norm, weight_norm)? The copy has none; {advice}"
        )
    return bool(entered)
