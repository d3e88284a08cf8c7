"""The way back through a recorded run: from losses at its end to a slope for every sample's weight."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.core.contracts import MetaweightError
from metaweight.core.digest import digest
from metaweight.core.randomness import alone, differentiable
from metaweight.engines.adjoint import Adjoint
from metaweight.engines.checks import double_backward
from metaweight.engines.graph import checked_graph
from metaweight.engines.inner import InnerStep
from metaweight.engines.pulled import GradientGraph, added
from metaweight.influence.norms import Observed, norms_of
from metaweight.influence.point import Point
from metaweight.influence.recording import Recording, Tell, silent
from metaweight.influence.targets import Said
from metaweight.training.checkpoint import RUN, load, save

GROWTH = 1e8
"""Of what a loss says of the parameters, from the run's end to its beginning, above which it is warned."""


class InfluenceWarning(UserWarning):
    """An influence that may mean little: the message says why."""


@dataclass(frozen=True)
class _At:
    """What one target says of the run's state before a step."""

    adjoint: Adjoint
    statistics: Mapping[str, Tensor]


class WayBack:
    """Goes through the steps of a recording from the last to the first, a segment at a time.

    ``values`` [Q, epochs or 1, N] float64, NaN where a sample was in no batch: dL/dw summed over its units.
    ``taught`` [Q, P] float64: of a teacher's parameters, where one gives the weights.
    ``kept``: a file that what is done so far is written to, so that another process may go on.
    """

    def __init__(
        self,
        recording: Recording,
        said: Sequence[Said],
        *,
        by_epoch: bool = False,
        kept: Path | None = None,
    ) -> None:
        self.recording, self.kept = recording, kept
        steps = recording.steps
        self.step = len(steps)
        epochs = steps.epochs if by_epoch else 1
        size = (len(said), epochs, len(steps.weights))
        self.values = torch.zeros(size, dtype=torch.float64)
        self.visited = torch.zeros(size[1:], dtype=torch.bool)
        learns = 0 if steps.teaching is None else len(steps.teaching.values())
        self.taught = torch.zeros(len(said), learns, dtype=torch.float64)
        self.at = [_At(Adjoint(one.parameters, {}), one.statistics) for one in said]
        self.first = self._sizes()
        self._norms = norms_of(recording.student.module)
        self._inner = InnerStep.of(recording.optimizer, recording.student.parameters(), steps.max_norm)
        if kept is not None and kept.exists():
            self._load(load(kept, self._shapes()))

    def go(self, tell: Tell = silent) -> Tensor:
        """``values`` once all steps are done; the student stands somewhere on the way then.

        Raises MismatchError where the steps, taken again, are not those that were recorded.
        """
        recording, total = self.recording, len(self.recording.steps)
        for first, end in recording.segments.backwards(self.step):
            with alone(), recording.again(first, end) as points, double_backward():
                while points:
                    self._back(first + len(points) - 1, points.pop())
            self.step = first
            self._watch()
            if self.kept is not None:
                save(self.kept, self._state(), self._shapes())
            tell(total - first, total)
        return torch.where(self.visited, self.values, torch.nan)

    def _back(self, step: int, point: Point) -> None:
        """The adjoints before ``step``, and its slopes, at ``point``, where it left from."""
        recording, steps = self.recording, self.recording.steps
        student = recording.student
        point.put_pass(student)
        steps.look(student)  # outside of what is watched
        observed = Observed(self._norms if any(at.statistics for at in self.at) else {})
        with differentiable(), observed.watching():
            forward = steps.forward(student, step)
        if step == len(steps) - 1:
            checked_graph(forward.loss, len(steps))
        leaves, sight = student.parameters(), None
        if steps.teaching is not None:
            sight = steps.teaching.sight(step, forward)
        weights = steps.weights_of(step, forward) if sight is None else sight.weights
        graph = GradientGraph(forward, weights, leaves, self._inner.options)
        gradient = graph.gradient()
        inner = replace(self._inner, states=point.states).at(steps.rates.at(step))
        index = forward.index.cpu()
        epoch = steps.place(step)[0] if self.values.shape[1] > 1 else 0
        self.visited[epoch, index] = True
        for number, at in enumerate(self.at):
            another = number + 1 < len(self.at)
            beside, statistics = observed.back(at.statistics, point.buffers)
            slope, before = graph.back(
                inner,
                gradient,
                at.adjoint,
                inside=step > 0,
                beside=beside,
                keep_graph=another or sight is not None,
            )
            if steps.teaching is not None and sight is not None:
                self.taught[number] += steps.teaching.learnt_from(sight, slope)
                more = sight.through_state(forward, slope, leaves, graph.names, keep_graph=another)
                before = replace(before, parameters=added(before.parameters, more))
            self.values[number, epoch].index_add_(0, index, slope.to("cpu", torch.float64))
            self.at[number] = _At(before, statistics)

    def _sizes(self) -> list[float]:
        return [
            float(torch.stack([v.norm() for v in at.adjoint.parameters.values()]).norm())
            if at.adjoint.parameters
            else 0.0
            for at in self.at
        ]

    def _watch(self) -> None:
        """Warn where what a loss says grows beyond meaning on the way."""
        sizes = self._sizes()
        if not all(map(math.isfinite, sizes)):
            raise MetaweightError(
                f"the way back through the run overflows before step {self.step}: this training is chaotic, "
                "and no derivative says what a weight does to its end. A lower learning rate, warm-up, "
                "larger batches, smooth activations (GELU) and normalised layers make it smooth"
            )
        grown = [now / first for now, first in zip(sizes, self.first, strict=True) if first]
        if grown and max(grown) > GROWTH:
            self.first = [max(size, first) for size, first in zip(sizes, self.first, strict=True)]
            warnings.warn(
                f"a change of the parameters before step {self.step} moves the loss at the end "
                f"{max(grown):.0e} times as much as one at the end: this training is close to chaotic, and "
                "influences through it predict little",
                InfluenceWarning,
                stacklevel=3,
            )

    def _shapes(self) -> dict[str, Any]:
        return {
            "values": list(self.values.shape),
            "taught": list(self.taught.shape),
            "steps": len(self.recording.steps),
            "every": self.recording.segments.every,
            RUN: digest(map(repr, self.recording.log.losses)),
        }

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "values": self.values,
            "visited": self.visited,
            "taught": self.taught,
            "first": self.first,
            "off": self.recording.off,
            "parameters": [dict(at.adjoint.parameters) for at in self.at],
            "states": [{name: dict(v) for name, v in at.adjoint.states.items()} for at in self.at],
            "statistics": [dict(at.statistics) for at in self.at],
        }

    def _load(self, state: Mapping[str, Any]) -> None:
        self.step, self.values, self.visited = state["step"], state["values"], state["visited"]
        self.taught, self.first = state["taught"], state["first"]
        self.recording.off.update(state["off"])
        device = self.recording.student.device

        def here(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: value.to(device) for name, value in values.items()}

        self.at = [
            _At(Adjoint(here(p), {name: here(v) for name, v in s.items()}), here(r))
            for p, s, r in zip(state["parameters"], state["states"], state["statistics"], strict=True)
        ]
