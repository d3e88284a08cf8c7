"""When an engine's answer is checked, and the one way to an answer that may be used.

An engine is wrong in silence where a student does what its method does not see.  So its slopes are held
against reverse mode of the real loss (``verification``), which shares no code with it, at a student's first
batch, again and again, and as soon as something about the passes is another: modes, operators, the order of
rows, or the size of a number that scales a term (an annealed coefficient, wherever it is computed).

What is not seen at once is another value that no operator names: a coefficient for each sample, a threshold,
data that couple rows in one batch and not in another by values alone, and a tensor that scales a term inside
of a checkpointed part.  Such a change is found at the next check, ``check_every`` batches later at most.
An engine whose gradient is autograd's own notices most of it in each batch (``OneStep``); ``ghost``, which
makes the gradient from the same products as the slopes, cannot: a second route to it costs a backward.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import torch

from metaweight.core.reads import settle
from metaweight.core.weakly import PerObject
from metaweight.engines.base import Engine, Problem, Solution
from metaweight.engines.checks import (
    REENTRANT,
    EngineError,
    refuse_changed_gradients,
    refuse_moved_parameters,
    refuse_whole,
)
from metaweight.engines.graph import Graph
from metaweight.engines.verification import Verification

FEW = 4
"""Shapes and settings, each new, that are checked at once; of later ones one in ``APART`` batches."""
APART = 25
KINDS = 256
"""Kinds of passes that are remembered."""
GROWTH = 2.0
"""By which a number that scales a term of the loss may leave those that were checked.  What a term makes
wrong is as large as its coefficient: no more than twice what passed unseen can be wrong before the next
check, and one that grows without end is checked at each doubling only."""


Spans = tuple[tuple[float, float], ...]
"""The least and the greatest value of each number in a graph, of the batches that were checked."""


class Watch:
    """What one engine was checked on, with one student."""

    def __init__(self) -> None:
        self.batches = 0
        self._kinds: dict[Hashable, Spans] = {}
        self._variants: dict[Hashable, None] = {}
        self._since = 0

    def is_new(self, kind: Hashable, variant: Hashable) -> bool:
        """Whether no answer to such a batch has passed yet."""
        return kind not in self._kinds or variant not in self._variants

    def due(self, kind: Hashable, variant: Hashable, every: int, numbers: Sequence[float] = ()) -> bool:
        """Whether this batch's answer is to be checked.

        ``kind``: what decides whether the method holds; another one is always checked.  ``variant``: what
        may decide it and changes often, as shapes do.  ``numbers``: see ``Graph``.
        """
        if every == 0:
            return False
        if kind not in self._kinds or self._since + 1 >= every or _outside(self._kinds[kind], numbers):
            return True
        # a method that fails by and by fails early: at batches 2, 4, 8, ...
        if self.batches < every and (self.batches + 1) & self.batches == 0:
            return True
        return variant not in self._variants and (len(self._variants) < FEW or self._since >= APART)

    def passed(
        self, kind: Hashable, variant: Hashable, *, checked: bool, numbers: Sequence[float] = ()
    ) -> None:
        """Count a batch whose answer is used."""
        self.batches += 1
        self._since += 1
        if checked:
            self._since = 0
            self._variants[variant] = None
            self._kinds[kind] = _widened(self._kinds.get(kind, ()), numbers)
            memories: tuple[dict[Hashable, Any], ...] = (self._kinds, self._variants)
            for memory in memories:
                if len(memory) > KINDS:
                    del memory[next(iter(memory))]


def _outside(spans: Spans, numbers: Sequence[float]) -> bool:
    return len(spans) != len(numbers) or any(
        number > GROWTH * high or number < low / GROWTH
        for number, (low, high) in zip(numbers, spans, strict=True)
    )


def _widened(spans: Spans, numbers: Sequence[float]) -> Spans:
    if len(spans) != len(numbers):
        return tuple((number, number) for number in numbers)
    return tuple(
        (min(number, low), max(number, high)) for number, (low, high) in zip(numbers, spans, strict=True)
    )


_watches: PerObject[Engine, PerObject[torch.nn.Module, Watch]] = PerObject(lambda: PerObject(Watch))


def answer(engine: Engine, problem: Problem) -> Solution:
    """The engine's solution, checked where that is due.

    Raises EngineError, with the reason, where reverse mode contradicts.
    """
    student = problem.student
    if student.sharded is not None:
        refuse_whole(engine.abilities.sharded, len(problem.train))
    refuse_changed_gradients(student)
    student.learn_what_moves(problem.train[0])
    refuse_moved_parameters(student)
    watch, processes = _watches[engine][student.module], student.processes
    settings, variant = _settings(problem), _variant(problem)
    recorded = problem.recorded
    if recorded is None and len(problem.train) == 1:
        recorded = engine.record(problem)
        problem = replace(problem, recorded=recorded)
    if recorded is None:
        # whether it is due, the passes that the engine makes decide; the state to check from is that before
        verification: Verification | None = Verification(problem)
        solution = engine.solve(problem)
        kind: Hashable = (settings, tuple(graph.kind for graph in solution.graphs))
        numbers = tuple(number for graph in solution.graphs for number in graph.numbers)
        checked = processes.any(watch.due(kind, variant, problem.check_every, numbers))
    else:
        graph = Graph.of(recorded.forward.loss)
        if graph.reentrant:
            raise EngineError(REENTRANT)
        kind, numbers = (settings, graph.kind, graph.moves, engine.signature(recorded)), graph.numbers
        checked = processes.any(watch.due(kind, variant, problem.check_every, numbers))
        verification = None
        if checked:
            problem = replace(problem, recorded=replace(recorded, keep_graph=True))
            verification = Verification(problem)
        solution = engine.solve(problem)
    if checked and verification is not None:
        settle()  # what is NaN passes every comparison
        verification.require(engine, solution, first_time=processes.any(watch.is_new(kind, variant)))
    watch.passed(kind, variant, checked=checked, numbers=numbers)
    return replace(solution, direction=None)  # of the parameters' size, and of no more use


def _settings(problem: Problem) -> Hashable:
    kind = problem.student.device.type
    return (
        len(problem.train),
        # one unit owns all rows, however they lie
        min(map(len, problem.train)) == 1,
        problem.scope,
        tuple(part.training for _, part in problem.student.moving.parts),
        tuple(p.requires_grad for p in problem.student.moving.parameters().values()),
        torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind),
        id(problem.student.loss),
    )


def _variant(problem: Problem) -> Hashable:
    shapes = [
        (tuple(value.shape), value.dtype) if isinstance(value, torch.Tensor) else type(value)
        for batch in (*problem.train, problem.meta)
        for value in (*batch.args, *batch.kwargs.values(), batch.targets)
    ]
    return tuple(shapes), problem.student.moving.numbers()
