"""Engine ``auto``: the cheapest exact engine for a student, found by its layers and by trying."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from metaweight.core.contracts import StudentState
from metaweight.core.randomness import RandomState, forked_rng
from metaweight.engines.abilities import Abilities
from metaweight.engines.base import (
    Engine,
    Problem,
    Solution,
    Weigh,
    attention_for,
    build_engine,
    registry,
)
from metaweight.engines.checks import EngineError, described
from metaweight.engines.ghost_layers import couples
from metaweight.student.student import Student

log = logging.getLogger(__name__)

Choice = tuple[str, str]
"""An engine's name, and why it is tried."""


@registry.register("auto")
class Auto(Engine):
    """Tries exact engines in the order of their cost for the student's layers; keeps the first that can.

    A norm that couples the batch: ``forward``.  None: ``ghost``, whose layers are checked, then ``forward``
    and ``double``, with convolutions in this order.  Several inner steps: ``reverse``.  Last: ``higher``.
    ``chosen`` names the engine and ``why`` the reason, both logged (INFO) when the first batch is solved.
    """

    summary = "exact; the cheapest of the others for the student's layers, the next one where it cannot"
    abilities = Abilities(steps=None, ends_window=True)

    def __init__(self) -> None:
        self._engines: dict[str, Engine] = {}
        # by module and by what is to be tried, which changes with the number of steps and with .eval()
        self._kept: weakref.WeakKeyDictionary[nn.Module, dict[tuple[Choice, ...], Choice]] = (
            weakref.WeakKeyDictionary()
        )
        self.chosen: str | None = None
        self.why = "no batch has been solved yet"

    @property
    def choice(self) -> str:
        """See ``Engine``."""
        return "" if self.chosen is None else f"{self.chosen}: {self.why}"

    def solve(self, problem: Problem) -> Solution:
        """See ``Engine``.  Raises EngineError, with every engine's reason, where none can."""
        engine, solution = self._tried(problem)
        return engine.solve(problem) if solution is None else solution

    def settle(self, problem: Problem) -> Engine:
        """See ``Engine``: tries on this ``problem`` where none is chosen yet."""
        return self._tried(problem)[0]

    def keeping(self, student: Student) -> AbstractContextManager[Any]:
        """What the engine needs that is chosen, or that will be tried first."""
        candidates = tuple(preferences(student.module, several=False))
        name, _ = self._kept.get(student.module, {}).get(candidates, candidates[0])
        return self._engine(name).keeping(student)

    def _tried(self, problem: Problem) -> tuple[Engine, Solution | None]:
        """The engine chosen, and its solution where that was found out on this ``problem``."""
        module = problem.student.module
        candidates = tuple(preferences(module, several=len(problem.train) > 1))
        kept = self._kept.setdefault(module, {})
        if candidates in kept:
            self.chosen, self.why = kept[candidates]
            return self._engine(self.chosen), None
        refused: list[str] = []
        random, weigh = RandomState.of(problem.student.device), _Remembered(problem.weigh)
        for name, why in candidates:
            random.restore(problem.student.device)  # a try that failed may have drawn masks
            try:
                with forked_rng(problem.student.device), attention_for(self), torch.enable_grad():
                    solution = self._engine(name).solve(_for_a_try(problem, weigh.again()))
            except EngineError as error:
                refused.append(f"{name}: {error}")
                continue
            self.why = "; ".join([why, *(f"not {reason}" for reason in refused)])
            self.chosen, kept[candidates] = name, (name, self.why)
            log.info("engine auto takes %s: %s", name, self.why)
            return self._engine(name), solution
        raise EngineError("no exact engine can differentiate this student. " + "; ".join(refused))

    def _engine(self, name: str) -> Engine:
        if name not in self._engines:
            self._engines[name] = build_engine(name)
        return self._engines[name]


def preferences(module: nn.Module, *, several: bool) -> Iterator[Choice]:
    """Exact engines with the reason to try them, the most promising first."""
    if several:
        yield "reverse", "several inner steps, in the memory of one"
    elif coupling := _first(module, couples):
        yield "forward", f"{coupling} couples the samples of a batch"
    else:
        yield "ghost", "no layer couples the samples of a batch"
        if convolution := _first(module, lambda part: isinstance(part, nn.modules.conv._ConvNd)):
            yield "forward", f"{convolution} is a convolution"
            yield "double", "one inner step"
        else:
            yield "double", "no convolutions"
            yield "forward", "one inner step"
    yield "higher", "any student"


def _first(module: nn.Module, is_it: Callable[[nn.Module], bool]) -> str | None:
    part = next(filter(is_it, module.modules()), None)
    return None if part is None else described(module, part)


class _Remembered:
    """Weights by the order of the calls: every try sees the same states, and asks the teacher once."""

    def __init__(self, weigh: Weigh) -> None:
        self._weigh = weigh
        self._given: list[Tensor] = []

    def again(self) -> Weigh:
        """From the first call on."""
        calls = itertools.count()

        def weigh(state: StudentState) -> Tensor:
            call = next(calls)
            if call == len(self._given):
                self._given.append(self._weigh(state))
            return self._given[call]

        return weigh


def _for_a_try(problem: Problem, weigh: Weigh) -> Problem:
    """A try that fails late must not take the graph away that the next engine needs."""
    recorded = problem.recorded
    if recorded is not None and not recorded.keep_graph:
        recorded = dataclasses.replace(recorded, keep_graph=True)
    return dataclasses.replace(problem, weigh=weigh, recorded=recorded)
