"""What the update of an optimizer must hold: it is the optimizer's own step, and so is its derivative."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from metaweight.engines.inner import InnerStep, rule_for
from metaweight.testing.oracles import differences, relative
from metaweight.testing.rules import changed, clones, require, require_all

WARM = 3
"""Steps of its own that an optimizer has taken before it is compared as a warm one."""


def check_optimizer(
    optimizer_class: type[Optimizer],
    *,
    shapes: Sequence[Sequence[int]] = ((4, 3), (5,)),
    dtype: torch.dtype = torch.float64,
    differences: bool = True,
    **options: Any,
) -> None:
    """Raise ContractError where the update of an optimizer is not the step that its class takes.

    ``optimizer_class(parameters, **options)`` is built on random parameters of ``shapes``; complex ones with
    a complex ``dtype``.  Update and derivative are compared with its own steps: give options that are not
    the defaults (a default of 1 or 0 hides a missing factor), and an eps that is not tiny.  The derivative
    of an update that ``rounds`` is compared with differences of its own steps without the rounding.
    ``differences=False`` leaves the derivative out, where the class rounds in other ways.
    """
    subject = Subject(optimizer_class, options, tuple(tuple(shape) for shape in shapes), dtype)
    rules = RULES if differences else [rule for rule in RULES if rule is not its_derivative_is_that_of_steps]
    require_all(f"the update of {optimizer_class.__name__}", subject, rules)


@dataclass(frozen=True)
class Subject:
    """An optimizer class with its options, and random problems for it."""

    kind: type[Optimizer]
    options: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype

    def built(self, warm: int) -> tuple[Optimizer, dict[str, nn.Parameter]]:
        """The optimizer after ``warm`` steps of its own, the same each time, and its parameters."""
        g = torch.Generator().manual_seed(3)
        parameters = {
            f"p{number}": nn.Parameter(torch.randn(shape, generator=g, dtype=self.dtype))
            for number, shape in enumerate(self.shapes)
        }
        optimizer = self.kind(list(parameters.values()), **self.options)
        for number in range(warm):
            take(optimizer, parameters, self.gradients(number))
        return optimizer, parameters

    def gradients(self, number: int) -> dict[str, Tensor]:
        """Random ones for the step ``number``; they shrink, for maxima over steps and their ends to part."""
        g = torch.Generator().manual_seed(100 + number)
        return {
            f"p{place}": torch.randn(shape, generator=g, dtype=self.dtype) * 0.6**number
            for place, shape in enumerate(self.shapes)
        }


def take(
    optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], gradients: Mapping[str, Tensor]
) -> None:
    """A step of the class's own; a parameter without a gradient has none."""
    for name, p in parameters.items():
        p.grad = gradients[name].detach().clone() if name in gradients else None
    optimizer.step()


def it_has_an_update(subject: Subject) -> None:
    """The class, or a base whose step it has unchanged, has an update, and InnerStep takes the optimizer."""
    optimizer, parameters = subject.built(0)
    rule_for(optimizer)
    InnerStep.of(optimizer, parameters)


def its_steps_are_those_of_the_class(subject: Subject) -> None:
    """Steps by the update lead where the class's own steps lead, from the first on and from a later one."""
    for warm in (0, WARM):
        (optimizer, parameters), own = subject.built(warm), subject.built(warm)
        inner, here = InnerStep.of(optimizer, parameters), clones(parameters)
        for number in range(warm, warm + 4):
            gradients = subject.gradients(number)
            here, inner = inner(here, gradients)
            take(*own, gradients)
            _require_same(here, own[1], f"after {warm} steps of its own, step {number - warm + 1}")


def what_is_flat_moves_alike_laid_end_to_end(subject: Subject) -> None:
    """Small parameters that move together, as ``register(..., flat=True)`` allows, end where each does."""
    for warm in (0, WARM):
        optimizer, parameters = subject.built(warm)
        if not rule_for(optimizer).flat:
            return
        inner, here = InnerStep.of(optimizer, parameters), clones(parameters)
        gradients = subject.gradients(warm)
        apart, _ = inner(here, gradients)
        together, _ = inner.successors(here, gradients)
        _require_same(together, apart, f"after {warm} steps, laid end to end (flat=True)")


def parameters_without_gradient_stay(subject: Subject) -> None:
    """A parameter without a gradient in one step goes on as the class lets it."""
    (optimizer, parameters), own = subject.built(0), subject.built(0)
    inner, here = InnerStep.of(optimizer, parameters), clones(parameters)
    for number in range(4):
        gradients = subject.gradients(number)
        if number in (0, 2):
            del gradients["p0"]
        try:
            take(*own, gradients)
        except (RuntimeError, TypeError):  # torch's fused SGD, for one, fails itself
            return
        here, inner = inner(here, gradients)
        _require_same(here, own[1], f"step {number + 1}, the first parameter without one in 1 and 3")


def it_writes_nothing(subject: Subject) -> None:
    """Parameter, gradient and state that an update is given are as before."""
    for warm in (0, WARM):
        optimizer, parameters = subject.built(warm)
        inner, here, gradients = InnerStep.of(optimizer, parameters), clones(parameters), subject.gradients(0)
        given = {**here, **{f"gradient of {n}": g for n, g in gradients.items()}, **dict(_tensors(inner))}
        before = clones(given)
        with torch.no_grad():
            inner(here, gradients)
        moved = changed(before, given)
        require(not moved, f"it changes {', '.join(moved)}; write it out of place")


def the_optimizer_can_go_on_from_it(subject: Subject) -> None:
    """Written back to a live optimizer, the states let it go on as after steps of its own."""
    for warm in (0, WARM):
        live, own = subject.built(warm), subject.built(warm)
        inner, here = InnerStep.of(*live), clones(live[1])
        for number in range(warm, warm + 3):
            here, inner = inner(here, subject.gradients(number))
            take(*own, subject.gradients(number))
        with torch.no_grad():
            for name, p in live[1].items():
                p.copy_(here[name])
            inner.write_states(*live)
        for number in range(warm + 3, warm + 5):
            for one in (live, own):
                take(*one, subject.gradients(number))
            _require_same(clones(live[1]), own[1], f"{number - warm - 2} step(s) after three pure ones")
        kept, truth = (
            {key: (v.dtype, v.shape, v.device) if isinstance(v, Tensor) else type(v) for key, v in s.items()}
            for s in (live[0].state[live[1]["p0"]], own[0].state[own[1]["p0"]])
        )
        require(kept == truth, f"the state is {kept}, the class keeps {truth}")


def its_derivative_is_that_of_steps(subject: Subject) -> None:
    """The derivative of two warm steps in parameters and gradients is that of differences of real steps."""
    optimizer, parameters = subject.built(WARM)
    inner = InnerStep.of(optimizer, parameters)
    inputs = [clones(parameters), subject.gradients(WARM), subject.gradients(WARM + 1)]
    g = torch.Generator().manual_seed(9)
    directions = {
        name: torch.randn(p.shape, generator=g, dtype=subject.dtype) for name, p in parameters.items()
    }
    if inner.rounds:
        _require_same_slope(inner, clones(parameters), subject.gradients(WARM), directions)
        inner = inner.unrounded()

    def measured(flat: Tensor) -> float:
        start, first, second = _shaped(flat, inputs)
        if inner.rounds:
            with torch.no_grad():
                moved, after = inner(start, first)
                return float(_inner_product(directions, after(moved, second)[0]))
        live, own = subject.built(WARM)
        with torch.no_grad():
            for name, p in own.items():
                p.copy_(start[name])
        take(live, own, first)
        take(live, own, second)
        return float(_inner_product(directions, clones(own)))

    leaves = [{name: v.clone().requires_grad_() for name, v in part.items()} for part in inputs]
    moved, after = inner(leaves[0], leaves[1])
    moved, _ = after(moved, leaves[2])
    every = [v for part in leaves for v in part.values()]
    ours = torch.autograd.grad(_inner_product(directions, moved), every, allow_unused=True)
    filled = [torch.zeros_like(v) if g is None else g for g, v in zip(ours, every, strict=True)]
    flat = torch.cat([_flat(v) for part in inputs for v in part.values()])
    truth = differences(measured, flat, h=1e-6)  # small: maxima have kinks
    off = relative(torch.cat([_flat(v) for v in filled]), truth)
    require(off <= 1e-6, f"it is off by {off:.1e} of it")


def _require_same_slope(
    inner: InnerStep, here: dict[str, Tensor], gradients: dict[str, Tensor], directions: dict[str, Tensor]
) -> None:
    """Of a step with its rounding and of the one without, along ``directions``."""
    leaves = [g.requires_grad_() for g in gradients.values()]
    slopes = [
        torch.autograd.grad(_inner_product(directions, step(here, gradients)[0]), leaves)
        for step in (inner, inner.unrounded())
    ]
    apart = max(relative(a, b) for a, b in zip(*slopes, strict=True))
    require(apart <= 1e-12, f"its rounding changes it by {apart:.1e}")


def it_is_finite_at_no_gradient(subject: Subject) -> None:
    """Step and derivative are finite where a gradient is exactly 0, where the class's step is."""
    for warm in (0, WARM):
        (optimizer, parameters), own = subject.built(warm), subject.built(warm)
        zeros = {name: torch.zeros_like(p, requires_grad=True) for name, p in clones(parameters).items()}
        here, inner = clones(parameters), InnerStep.of(optimizer, parameters)
        for _ in range(2):
            here, inner = inner(here, zeros)
            take(*own, zeros)
        if not all(bool(p.isfinite().all()) for p in own[1].values()):
            continue
        slopes = torch.autograd.grad([v.abs().sum() for v in here.values()], list(zeros.values()))
        require(
            all(bool(v.isfinite().all()) for v in (*here.values(), *slopes)),
            f"after {warm} steps of its own they are not: a root has an infinite slope at 0, and 0 * inf is "
            "NaN; mask it",
        )


def _require_same(ours: Mapping[str, Tensor], live: Mapping[str, Tensor], where: str) -> None:
    for name, p in live.items():
        off = relative(ours[name].detach(), p.detach())
        require(off <= 1e-12, f"{where}: a parameter of shape {tuple(p.shape)} is off by {off:.1e}")


def _tensors(inner: InnerStep) -> Iterator[tuple[str, Tensor]]:
    for name, state in inner.states.items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                yield f"{key} of {name}", value


def _inner_product(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([(_flat(a[name]) * _flat(b[name])).sum() for name in a]).sum()


def _flat(value: Tensor) -> Tensor:
    return (torch.view_as_real(value.resolve_conj()) if value.is_complex() else value).flatten()


def _shaped(flat: Tensor, like: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
    """The parts that ``flat`` was made of."""
    pieces = iter(flat.split([_flat(v).numel() for part in like for v in part.values()]))
    return [
        {
            name: torch.view_as_complex(next(pieces).view(*v.shape, 2))
            if v.is_complex()
            else next(pieces).view(v.shape)
            for name, v in part.items()
        }
        for part in like
    ]


RULES = (
    it_has_an_update,
    its_steps_are_those_of_the_class,
    parameters_without_gradient_stay,
    it_writes_nothing,
    what_is_flat_moves_alike_laid_end_to_end,
    the_optimizer_can_go_on_from_it,
    its_derivative_is_that_of_steps,
    it_is_finite_at_no_gradient,
)
