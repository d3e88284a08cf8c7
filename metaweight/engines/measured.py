"""Exact engines side by side on one problem: which of them agree, and what each takes in time and memory."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from metaweight.core.contracts import StudentState
from metaweight.core.randomness import RandomState, differentiable, forked_rng
from metaweight.core.reads import together
from metaweight.engines.base import Engine, Problem, Solution, attention_for
from metaweight.engines.checks import EngineError, first_line
from metaweight.engines.graph import Graph
from metaweight.engines.one_step import joined_gradients
from metaweight.engines.watch import answer

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
ROUNDS, MOST = 3, 20
"""Timed rounds at least and at most."""
ENOUGH = 1.0
"""Seconds of all rounds together after which no more are taken, once each has its best time twice."""
PATIENCE = 30.0
"""Seconds after which none is taken, whatever is known."""
HOPELESS = 1.5
"""Times the best: who takes more in two rounds is timed no longer."""
ALIKE = 1.03
"""Times the best: what is no more counts as the same, for clocks do not tell better."""


@dataclass(frozen=True)
class Cost:
    """What an engine takes for a batch."""

    seconds: float
    """Of the fastest round, which other work on the machine has disturbed least; NaN where nobody else was
    left to be timed against."""
    memory: int | None = None
    """Most bytes at once, beside what was there before; None where the device does not count them."""


@dataclass(frozen=True)
class Comparison(Generic[K]):
    """Engines by a key of the caller's."""

    costs: Mapping[K, Cost]
    """Of those that can and agree: the one to take first, then the others by their time."""
    refused: Mapping[K, str]
    """Why others are left out, for people."""
    rounds: int
    """Timed."""


def compared(engines: Mapping[K, Engine], problem: Problem) -> Comparison[K]:
    """Let all ``engines`` solve ``problem``, at weights of 1, so that nobody asks the teacher.

    First each solves it once, checked as ever; an engine is left out that raises EngineError, that runs out
    of memory, or whose slopes are not those of the first one, up to ``Engine.tolerance``.  The others then
    take turns on the clock.  In several processes the slowest one's time and the largest one's memory count,
    and all come to the same.  Module, buffers, optimizer and random state are left as they were.
    Raises torch.cuda.OutOfMemoryError in several processes: the others wait in the middle of a pass.
    """
    with forked_rng(problem.student.device), torch.enable_grad():
        return _Field(engines, replace(problem, weigh=_alike)).compared()


def _alike(state: StudentState) -> Tensor:
    return torch.ones_like(state.loss)


class _Field(Generic[K]):
    """The engines that are still in it."""

    def __init__(self, engines: Mapping[K, Engine], problem: Problem) -> None:
        self.engines, self.problem = dict(engines), problem
        self.refused: dict[K, str] = {}
        self.seconds: dict[K, list[float]] = {key: [] for key in engines}
        self._device, self._processes = problem.student.device, problem.student.processes
        self._random = RandomState.of(self._device)

    def compared(self) -> Comparison[K]:
        self._leave_out_those_that_disagree()
        if len(self.engines) < 2:
            return Comparison({key: Cost(math.nan) for key in self.engines}, self.refused, 0)
        memory = dict(self._each(list(self.engines), self._memory))
        rounds = self._raced()
        costs = {key: Cost(min(self.seconds[key], default=math.nan), memory[key]) for key in self.engines}
        return Comparison(ranked(costs), self.refused, rounds)

    def _leave_out_those_that_disagree(self) -> None:
        first: tuple[Engine, Tensor, float] | None = None
        for key, solution in self._each(list(self.engines), self._answered):
            engine, slopes = self.engines[key], torch.cat(solution.slopes)
            if first is None:
                first = engine, slopes, engine.tolerance(self._lowest(engine, solution))
                continue
            other, truth, tolerance = first
            off, norm = float((slopes - truth).norm()), float(truth.norm())
            # what is NaN does not agree
            if self._processes.any(not off <= tolerance * norm):
                del self.engines[key]
                share = off / max(norm, torch.finfo(truth.dtype).tiny)
                self.refused[key] = f"its slopes are {share:.1e} off those of {type(other).__name__}"

    def _raced(self) -> int:
        """Time those that are left in turns, and give the number of rounds."""
        running, rounds = list(self.engines), 0
        while len(running) > 1 and rounds < MOST and not (rounds >= ROUNDS and self._known(running)):
            for key, seconds in self._each(running if rounds % 2 == 0 else running[::-1], self._seconds):
                self.seconds[key].append(seconds)
            rounds += 1
            running = [key for key in running if key in self.engines]
            if rounds > 1 and running:
                limit = HOPELESS * min(min(self.seconds[key]) for key in running)
                running = [key for key in running if min(self.seconds[key]) <= limit]
        return rounds

    def _known(self, running: list[K]) -> bool:
        """Whether more rounds would tell no more: where other work disturbs one, its time comes once."""
        best = (heapq.nsmallest(2, self.seconds[key]) for key in running)
        spent = sum(itertools.chain.from_iterable(self.seconds.values()))
        alike = all(second <= ALIKE * first for first, second in best)
        return spent >= PATIENCE or (spent >= ENOUGH and alike)

    def _each(self, keys: list[K], measure: Callable[[Engine], T]) -> Iterator[tuple[K, T]]:
        """What ``measure`` gives of each, from the same random state; who raises is out."""
        for key in keys:
            self._random.restore(self._device)
            try:
                with together():
                    value = measure(self.engines[key])
            except (EngineError, torch.cuda.OutOfMemoryError) as error:
                short = _shortage(error)
                if short is not None and self._processes.size > 1:
                    raise
                self.refused[key] = str(error) if short is None else f"out of memory ({first_line(short)})"
            else:
                yield key, value
                continue
            del self.engines[key]
            if self._device.type == "cuda":
                torch.cuda.empty_cache()  # the next one may want it in other pieces

    def _answered(self, engine: Engine) -> Solution:
        """With attention written out for all: what fused kernels drop nobody can drop again."""
        problem = self.problem
        if problem.recorded is not None:
            problem = replace(problem, recorded=replace(problem.recorded, keep_graph=True))
        with differentiable():
            return answer(engine, problem)

    def _lowest(self, engine: Engine, solution: Solution) -> torch.dtype:
        """The floating type of fewest digits in the train passes."""
        graphs = [*solution.graphs]
        if not graphs and len(self.problem.train) == 1:
            recorded = self.problem.recorded or engine.record(self.problem)
            graphs += [] if recorded is None else [Graph.of(recorded.forward.loss)]
        known = [solution.slopes[0].dtype, *(graph.lowest for graph in graphs)]
        return min(known, key=lambda dtype: dtype.itemsize)

    def _memory(self, engine: Engine) -> int | None:
        """Most bytes at once of a pass that is not timed, which warms up what the timed ones find."""
        if self._device.type != "cuda":
            self._iterate(engine)
            return None
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        self._iterate(engine)
        return self._most(torch.cuda.max_memory_allocated(self._device) - before)

    def _seconds(self, engine: Engine) -> float:
        self._wait()
        start = time.perf_counter_ns()
        self._iterate(engine)
        self._wait()
        return self._most(time.perf_counter_ns() - start) / 1e9

    def _iterate(self, engine: Engine) -> None:
        """All that an iteration does in another way with another engine."""
        problem, student, recorded = self.problem, self.problem.student, self.problem.recorded
        shared = recorded is not None  # the next engine needs its graph
        backward = problem.again and not engine.abilities.weighs_again
        with attention_for(engine), together():
            if recorded is None and len(problem.train) == 1:
                recorded = engine.record(problem)
            if recorded is not None:
                recorded = replace(recorded, keep_graph=shared or backward)
            solution = engine.solve(replace(problem, recorded=recorded))
            weights = solution.weights[0].detach()
            if problem.again and solution.gradient_at is not None:
                solution.gradient_at(weights)
            elif backward and recorded is not None:
                forward, parameters = recorded.forward, student.parameters()
                joined_gradients(student, forward, weights, parameters, keep_graph=shared)

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _most(self, number: int) -> int:
        return max(said for (said,) in self._processes.told([number]))


def ranked(costs: Mapping[K, Cost]) -> dict[K, Cost]:
    """The one to take first, then the others by their time.

    Of those within ``ALIKE`` of the fastest the one that takes least memory, and of these the first given.
    """
    if len(costs) < 2:
        return dict(costs)
    fastest = min(cost.seconds for cost in costs.values())
    alike = [key for key, cost in costs.items() if cost.seconds <= ALIKE * fastest]
    taken = min(alike, key=lambda key: costs[key].memory or 0)
    others = sorted((key for key in costs if key != taken), key=lambda key: costs[key].seconds)
    return {key: costs[key] for key in [taken, *others]}


def _shortage(error: BaseException | None) -> torch.cuda.OutOfMemoryError | None:
    """Where memory was short: ``error``, or what it came from."""
    if error is None or isinstance(error, torch.cuda.OutOfMemoryError):
        return error
    return _shortage(error.__cause__)
