"""Every engine of the registry on students of a few parameters, held against differences of real steps.

The truth is that of torch's own optimizers: they step at slightly other weights, in float64, and the meta
loss is compared.  It shares no code with any engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from metaweight import engines
from metaweight.doctor.self_test import Measure, SelfTest, one_line, run_test
from metaweight.engines import Abilities, Engine, EngineError, build_engine
from metaweight.testing import ridge
from metaweight.testing.engine_subject import Subject
from metaweight.testing.oracles import RealSteps, differences, relative
from metaweight.testing.problems import problem, weights_for

EXACT = 1e-6
"""How far slopes of an exact engine may be from differences."""
ROUGH = 1e-3
"""And those of one that is not exact, unless its own tolerance is wider."""


@dataclass(frozen=True)
class Case:
    """A problem that a student, its optimizer and batches pose, with its truth by differences."""

    name: str
    steps: RealSteps
    weights: tuple[Tensor, ...]
    able: Callable[[Abilities], bool | None]
    """Whether an engine of these abilities is to take it; False: it is to refuse; None: it may do either."""

    @cached_property
    def truth(self) -> Tensor:
        """dL_meta/dw, one behind the other."""
        return torch.cat(self.steps.slopes(list(self.weights)))


def engine_tests() -> Iterator[SelfTest]:
    """One for each engine, plug-ins included; one of that name where the registry does not load."""
    try:
        names = engines.names()
    except (ImportError, ValueError) as error:
        yield SelfTest(name="engines", state="failed", what=one_line(error))
        return
    try:
        cases = _cases()
    except Exception as error:  # without gradients, say, no optimizer steps
        yield SelfTest(name="engines", state="failed", what=f"a plain step fails: {one_line(error)}")
        return
    for name in names:
        yield run_test(f"engine {name}", partial(_measures, name, cases))


def _cases() -> tuple[Case, ...]:
    kinds: dict[str, tuple[RealSteps, Callable[[Abilities], bool | None]]] = {
        "MLP": (problem("layers"), lambda _: True),
        "attention": (problem("attention"), lambda _: None),
        "BatchNorm": (problem("batchnorm"), lambda abilities: abilities.coupled),
        "two steps": (problem("layers", steps=2), lambda _: True),
    }
    return tuple(Case(name, steps, tuple(weights_for(steps)), able) for name, (steps, able) in kinds.items())


def _measures(name: str, cases: tuple[Case, ...]) -> tuple[Measure, ...]:
    engine = build_engine(name)
    bound = EXACT if engine.abilities.exact else max(ROUGH, engine.tolerance(torch.float64))
    measures = []
    if not engine.abilities.exact:
        of_steps, first = _at_optimum(engine, bound)
        measures.append(first)
        if not of_steps:
            return tuple(measures)  # other problems are not at their optimum
    most = engine.abilities.steps
    fitting = (case for case in cases if most is None or len(case.steps.train) <= most)
    measures += [_measure(build_engine(name), case, bound) for case in fitting]
    return tuple(measures)


def _measure(engine: Engine, case: Case, bound: float) -> Measure:
    able = case.able(engine.abilities)
    measure = partial(Measure, problem=case.name, bound=bound)
    try:
        result = Subject(engine).answer(case.steps, list(case.weights))
    except EngineError as error:
        return measure(off=None, refused=str(error), expected=able is not True)
    off = relative(torch.cat(result.grads), case.truth)
    known = off if math.isfinite(off) else None
    return measure(off=known, refused=None, expected=off <= bound and able is not False)


def _at_optimum(engine: Engine, bound: float) -> tuple[bool, Measure]:
    """Weighted ridge regression solved to its end, where a step and the optimum have slopes of their own.

    An approximation is one of them: whether of the step, and how far it is from it.
    """
    steps, w = ridge.at_optimum()
    x, y, a, b, _ = ridge.ridge()

    def meta_loss(weights: Tensor) -> float:
        return float((a @ ridge.optimum(x, y, weights) - b).square().mean() / 2)

    ours = Subject(engine).answer(steps, [w]).grads[0]
    step, optimum = relative(ours, steps.slopes([w])[0]), relative(ours, differences(meta_loss, w))
    of_steps, off = step <= optimum, min(step, optimum)
    name = "ridge, a step" if of_steps else "ridge, the optimum"
    known = off if math.isfinite(off) else None
    return of_steps, Measure(problem=name, off=known, bound=bound, refused=None, expected=off <= bound)
