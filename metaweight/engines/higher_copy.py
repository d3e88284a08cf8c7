"""Engine ``higher``: a monkeypatched copy of the student takes the inner steps; reverse mode through them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import higher
import torch
from higher.optim import get_diff_optim
from torch import Tensor, nn

from metaweight.core.contracts import Batch, Forward
from metaweight.core.randomness import RandomState
from metaweight.engines.abilities import Abilities
from metaweight.engines.base import Engine, Problem, Solution, registry
from metaweight.engines.checks import EngineError, double_backward, refuse_reentrant, require_finite
from metaweight.engines.inner import InnerStep, clip_gradients
from metaweight.engines.sight import Sight, passing
from metaweight.engines.window import WindowEnd
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
        self._checked: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def solve(self, problem: Problem) -> Solution:
        student, module = problem.student, problem.student.module
        inner = InnerStep.of(problem.optimizer, student.parameters(), problem.max_norm)
        if module not in self._checked:
            _check_copy(student, problem.train[0])
            self._checked.add(module)
        if problem.recorded is not None:
            problem.recorded.random.restore(student.device)
        copy = _patched(module)
        names = [name for name, _ in module.named_parameters()]
        optimizer = get_diff_optim(
            problem.optimizer, module.parameters(), fmodel=copy, track_higher_grads=True
        )
        scope = problem.scope
        owned = {id(p) for group in problem.optimizer.param_groups for p in group["params"]}
        inside = [id(p) in owned and p.requires_grad for p in module.parameters()]
        sights: list[Sight] = []
        views: list[tuple[Tensor, ...]] = []
        index: list[Tensor] = []
        leaves: list[Tensor] = []
        gradient: dict[str, Tensor] = {}

        def keep_and_clip(gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
            gradient.clear()
            gradient.update(
                (n, g.detach())
                for n, g, m in zip(names, gradients, inside, strict=True)
                if m and g is not None
            )
            gradients = constant(gradients)
            if problem.max_norm is None:
                return gradients
            live = [i for i, g in enumerate(gradients) if g is not None and inside[i]]
            clipped = clip_gradients([g for i in live if (g := gradients[i]) is not None], problem.max_norm)
            by_place = dict(zip(live, clipped, strict=True))
            return constant([by_place.get(i) for i in range(len(gradients))])

        def constant(gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
            """The step of what is out of scope; the factor that clips has the others' gradients in it."""
            if scope is None:
                return gradients
            return [
                g if g is None or n in scope else g.detach() for n, g in zip(names, gradients, strict=True)
            ]

        try:
            with double_backward():
                for step, batch in enumerate(problem.train):
                    forward = _run(student, batch, copy)
                    source = (
                        problem.recorded.forward if problem.recorded is not None and step == 0 else forward
                    )
                    require_finite("train loss", forward.loss, forward.index)
                    # theta_0 does not depend on any weight, so nothing passes through the first state
                    through = self.through_state and step > 0
                    sights.append(
                        Sight.of(problem.weigh, source.state(problem.progress), through_state=through)
                    )
                    views.append(passing(forward.state(detached=False)) if through else ())
                    index.append(source.index)
                    leaves.append(sights[-1].weights.detach().requires_grad_())
                    rates = problem.rates_at(step)
                    optimizer.step(
                        (leaves[-1] * forward.loss).mean(),
                        override=None if rates is None else {"lr": list(rates)},
                        grad_callback=keep_and_clip,
                    )
                end = _end(student, problem.optimizer, inner, copy, optimizer)
                meta = _run(student, problem.meta, copy)
                require_finite("meta loss", meta.loss, meta.index)
                slopes = _slopes(meta.loss.mean(), leaves, sights, views)
        finally:
            _release(copy)
        if all(slope is None for slope in slopes):
            raise EngineError(
                "the meta loss does not depend on the weights: no parameter that the optimizer moves has an "
                "influence on the meta batch; check the optimizer's parameters"
            )
        filled = (torch.zeros_like(w) if s is None else s for s, w in zip(slopes, leaves, strict=True))
        return Solution(
            tuple(sight.weights for sight in sights), tuple(filled), meta, tuple(index), gradient, end
        )


def _slopes(
    meta_loss: Tensor, leaves: Sequence[Tensor], sights: Sequence[Sight], views: Sequence[Sequence[Tensor]]
) -> Sequence[Tensor | None]:
    """dL/dw of each step; where weights depend on the state, the later ones' slopes reach the earlier."""
    if not any(views):
        return torch.autograd.grad(meta_loss, leaves, allow_unused=True)
    outputs, pulls = [meta_loss], [torch.ones_like(meta_loss)]
    slopes: list[Tensor | None] = []
    for leaf, sight, parts in reversed(list(zip(leaves, sights, views, strict=True))):
        (slope,) = torch.autograd.grad(outputs, [leaf], pulls, allow_unused=True, retain_graph=True)
        slopes.insert(0, slope)
        if slope is not None:
            through = zip(parts, sight.pull_back(slope), strict=True)
            pairs = [(part, pull) for part, pull in through if pull is not None]
            outputs += [part for part, _ in pairs]
            pulls += [pull for _, pull in pairs]
    return slopes


def _end(
    student: Student, live: torch.optim.Optimizer, inner: InnerStep, copy: nn.Module, optimizer: Any
) -> WindowEnd:
    """The copy and its optimizer as they stand, detached."""
    names = {id(p): name for name, p in student.parameters().items()}
    states = {
        names[id(p)]: {
            key: value.detach() if isinstance(value, Tensor) else value
            for key, value in optimizer.state[number].get(place, {}).items()
        }
        for number, group in enumerate(live.param_groups)
        for place, p in enumerate(group["params"])
        if id(p) in names
    }
    moved = {
        name: fast.detach()
        for (name, own), fast in zip(student.module.named_parameters(), copy.parameters(), strict=True)
        if own.requires_grad
    }
    buffers = {name: b.detach().clone() for name, b in copy.named_buffers()}
    return WindowEnd(moved, replace(inner, states=states), buffers, RandomState.of(student.device))


def _patched(module: nn.Module) -> Any:
    return higher.monkeypatch(module, copy_initial_weights=True, track_higher_grads=True)


def _run(student: Student, batch: Batch, copy: nn.Module) -> Forward:
    try:
        return student(batch, module=copy)
    except TypeError as error:
        if "missing 1 required positional argument: 'root'" in str(error):
            raise EngineError(
                "the student slices a ModuleList or Sequential, which the copy made by higher cannot; "
                "loop over it by index, or use engine='forward'"
            ) from error
        raise


def _check_copy(student: Student, batch: Batch) -> None:
    """Refuse a student whose copy runs (parts of) the original: its fast weights would move nothing.

    A bound method kept as an attribute, and forward hooks that compute (higher #103), do that silently.
    """
    random, parameters = RandomState.of(student.device), student.parameters()
    names = [name for name, p in student.module.named_parameters() if p.requires_grad]
    copy = _patched(student.module)
    try:
        there = _run(student, batch, copy).loss
        fast = [p for p in copy.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(there.sum(), fast, allow_unused=True)
    finally:
        _release(copy)
    random.restore(student.device)
    forward = student.functional(batch, parameters, student.buffers())
    here = forward.loss
    require_finite("train loss", here, forward.index)
    refuse_reentrant(here)
    expected = torch.autograd.grad(here.sum(), [parameters[n] for n in names], allow_unused=True)
    random.restore(student.device)
    strays = [n for n, a, b in zip(names, gradients, expected, strict=True) if a is None and b is not None]
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


def _release(copy: Any) -> None:
    # classes and instances of a copy refer to each other; without this its graph waits for the collector
    for part in copy.modules():
        part.__dict__["_parameters"].clear()
        part.__dict__["_original_params"] = ()
        part.__dict__["_fast_params"] = None
