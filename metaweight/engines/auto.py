"""Engine ``auto``: the cheapest exact engine for a student, by its layers and by trying, or by the clock."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from metaweight.core.contracts import StudentState
from metaweight.core.randomness import RandomState, forked_rng
from metaweight.core.reads import together
from metaweight.core.weakly import PerObject
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
from metaweight.engines.candidates import Choice, Key, preferences
from metaweight.engines.checks import EngineError
from metaweight.engines.measured import compared
from metaweight.engines.rankings import Rankings
from metaweight.engines.watch import answer
from metaweight.student.student import Student

log = logging.getLogger(__name__)


COSTS = ("exact", "cheap", "measured")


@registry.register("auto")
class Auto(Engine):
    """Tries exact engines in the order of their cost for the student's layers; keeps the first that can.

    A norm that couples the batch: ``forward``, then ``double``.  None: ``ghost``, whose layers are checked,
    then ``forward`` and ``double``, with convolutions in this order.  Several inner steps: ``reverse``.
    Last: ``higher``.  With ``cost="cheap"`` ``first-order``, which is not exact, comes before ``ghost``.
    With ``cost="measured"`` all of them but ``higher`` solve the first batch in turns, see ``measured``: the
    fastest is kept, of those within 3 % of it the one that takes least memory (which CUDA alone counts), else
    the first in the order.  Exact engines agree up to rounding only, so that the clock then decides the last
    bits of a run; a resumed run takes the engine that it began with.  Who runs out of
    memory is left out, but in several processes that ends the run.  The other costs decide without a clock.
    Where the engine that was taken turns out to be wrong later on, the next one goes on, and a warning is
    logged.  ``chosen`` names the engine and ``why`` the reason, both logged (INFO) when the first batch is
    solved.  Raises ValueError for another ``cost``.
    """

    summary = "exact; the cheapest of the others for the student's layers, the next one where it cannot"
    abilities = Abilities(steps=None, ends_window=True, sharded=True, asks_others=True)

    def __init__(self, *, cost: str = "exact") -> None:
        if cost not in COSTS:
            raise ValueError(f"cost is {', '.join(map(repr, COSTS[:-1]))} or {COSTS[-1]!r}, got {cost!r}")
        self.cost = cost
        self._engines: dict[Key, Engine] = {}
        # by module and by what is to be tried, which changes with the number of steps and with .eval()
        self._kept: PerObject[nn.Module, dict[tuple[Choice, ...], tuple[Choice, str]]] = PerObject(dict)
        self._refused: PerObject[nn.Module, dict[Choice, str]] = PerObject(dict)
        self._rankings: PerObject[nn.Module, Rankings] = PerObject(Rankings)
        self.chosen: str | None = None
        self.why = "no batch has been solved yet"

    @property
    def coarse(self) -> str:
        """See ``Engine``."""
        return "engine 'auto' with cost='cheap'" if self.cost == "cheap" else ""

    @property
    def choice(self) -> str:
        """See ``Engine``."""
        return "" if self.chosen is None else f"{self.chosen}: {self.why}"

    def solve(self, problem: Problem) -> Solution:
        """See ``Engine``.  Raises EngineError, with every engine's reason, where none can."""
        random = RandomState.of(problem.student.device)
        while True:
            random.restore(problem.student.device)  # the engine before may have drawn masks
            engine, solution = self._tried(problem)
            if solution is not None:
                return solution
            try:
                with together():
                    return answer(engine, problem)
            except EngineError as error:
                if not self.give_up(engine, problem.student.module, error):
                    raise

    def settle(self, problem: Problem) -> Engine:
        """See ``Engine``: tries on this ``problem`` where none is chosen yet."""
        return self._tried(problem)[0]

    def keeping(self, student: Student) -> AbstractContextManager[Any]:
        """What the engine needs that is chosen, or that will be tried first."""
        candidates = tuple(preferences(student, several=False, cheap=self.cost == "cheap"))
        first = self._rankings[student.module].first(candidates) or candidates[0]
        choice, _ = self._kept[student.module].get(candidates, (first, ""))
        return self._engine(choice).keeping(student)

    def state_dict(self, module: nn.Module) -> dict[str, Any]:
        """See ``Engine``: of the engines that were taken by name, and what was measured as ``auto``."""
        states = {choice: engine.state_dict(module) for (choice, _), engine in self._engines.items()}
        states["auto"] = self._rankings[module].state_dict()
        return {name: state for name, state in states.items() if state}

    def load_state_dict(self, module: nn.Module, state: Mapping[str, Any]) -> None:
        """See ``Engine``: what was measured counts with ``cost="measured"``."""
        if self.cost == "measured":
            self._rankings[module].load_state_dict(state.get("auto", {}))
            self._kept[module].clear()
        for name, own in state.items():
            if name != "auto":
                self._engine(Choice(name, "it goes on")).load_state_dict(module, own)

    def give_up(self, engine: Engine, module: nn.Module, error: Exception) -> bool:
        """See ``Engine``: the engines that come after it are tried from now on."""
        kept, refused = self._kept[module], self._refused[module]
        left = False
        for candidates, (choice, _) in list(kept.items()):
            if self._engine(choice) is engine:
                del kept[candidates]
                self._rankings[module].drop(choice, str(error))
                refused[choice] = str(error)
                left = left or any(other not in refused for other in candidates)
                log.warning("engine auto gives up %s in mid-run: %s", choice.name, error)
        return left

    def _tried(self, problem: Problem) -> tuple[Engine, Solution | None]:
        """The engine chosen, and its solution where that was found out on this ``problem``."""
        module = problem.student.module
        several, cheap = len(problem.train) > 1, self.cost == "cheap"
        candidates = tuple(preferences(problem.student, several=several, cheap=cheap))
        kept, refused = self._kept[module], self._refused[module]
        if self.cost == "measured" and candidates not in kept:
            self._measure(problem, candidates)
        if candidates in kept:
            choice, self.why = kept[candidates]
            self.chosen = choice.name
            return self._engine(choice), None
        random, weigh = RandomState.of(problem.student.device), _Remembered(problem.weigh)
        for choice in candidates:
            if choice in refused:
                continue
            random.restore(problem.student.device)  # a try that failed may have drawn masks
            engine = self._engine(choice)
            try:
                with together(), forked_rng(problem.student.device), attention_for(self), torch.enable_grad():
                    solution = answer(engine, _for_a_try(problem, weigh.again()))
            except EngineError as error:
                refused[choice] = str(error)
                continue
            self._keep(module, candidates, choice, choice.why)
            return engine, solution
        reasons = [f"{other.name}: {refused[other]}" for other in candidates]
        raise EngineError(
            f"no exact engine can differentiate this student. {'; '.join(reasons)}. Not exact, but for any "
            "student whose passes are smooth: engine='difference'"
        )

    def _measure(self, problem: Problem, candidates: tuple[Choice, ...]) -> None:
        """Keep the best of those that were measured, now or in a run that this one goes on from."""
        module = problem.student.module
        rankings, refused = self._rankings[module], self._refused[module]
        if candidates not in rankings:
            some = [choice for choice in candidates if choice.name != "higher" and choice not in refused]
            if len(some) < 2:
                return
            rankings.add(candidates, compared({choice: self._engine(choice) for choice in some}, problem))
        refused.update(rankings.refused(candidates))
        best = rankings.first(candidates)
        if best is not None:
            self._keep(module, candidates, best, rankings.why(candidates))

    def _keep(self, module: nn.Module, candidates: tuple[Choice, ...], choice: Choice, why: str) -> None:
        refused = self._refused[module]
        reasons = [f"not {other.name}: {refused[other]}" for other in candidates if other in refused]
        self.chosen, self.why = choice.name, "; ".join([why, *reasons])
        self._kept[module][candidates] = choice, self.why
        log.info("engine auto takes %s: %s", choice.name, self.why)

    def _engine(self, choice: Choice) -> Engine:
        if choice.key not in self._engines:
            self._engines[choice.key] = build_engine(choice.name, **dict(choice.options))
        return self._engines[choice.key]


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
