"""The way back through a recorded run: from losses at its end to a slope for every sample's weight."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import methodcaller
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.core.contracts import MetaweightError
from metaweight.core.digest import digest
from metaweight.core.randomness import alone
from metaweight.engines.adjoint import Adjoint, through_update
from metaweight.engines.checks import double_backward
from metaweight.engines.inner import InnerStep
from metaweight.engines.pulled import added
from metaweight.influence.blocks import blocks_of
from metaweight.influence.norms import norms_of
from metaweight.influence.pieces import Piece
from metaweight.influence.pieces import Said as PieceSaid
from metaweight.influence.point import Point
from metaweight.influence.recording import Recording, Tell, silent
from metaweight.influence.targets import Said
from metaweight.influence.tensor_file import laid_aside
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
        self._ways: list[Callable[[Piece], tuple[Tensor, list[PieceSaid]] | None]] = []
        """Through a step in less memory, the first that is not known to fail."""
        if recording.keeping.low_memory and learns == 0:
            if blocks := blocks_of(recording.student.module):
                self._ways.append(methodcaller("by_blocks", blocks))
            if not any(layer.training for layer in self._norms.values()):
                self._ways.append(methodcaller("by_rows"))
        self._inner = InnerStep.of(recording.optimizer, recording.student.parameters(), steps.max_norm)
        if kept is not None and kept.exists():
            self._load(load(kept, self._shapes()))

    def go(self, tell: Tell = silent) -> Tensor:
        """``values`` once all steps are done; the student stands somewhere on the way then.

        Raises MismatchError where the steps, taken again, are not those that were recorded.
        """
        recording, total = self.recording, len(self.recording.steps)
        for first, end in recording.segments.backwards(self.step):
            fetched = self._laid_aside()
            with alone(), recording.again(first, end) as points, double_backward():
                fetched()
                while points:
                    self._back(first + len(points) - 1, points.pop())
            self.step = first
            self._watch()
            if self.kept is not None:
                save(self.kept, self._state(), self._shapes())
            tell(total - first, total)
        return torch.where(self.visited, self.values, torch.nan)

    def _laid_aside(self) -> Callable[[], None]:
        """Put the adjoints on the disk, where memory is low, until the result is called."""
        if not self.recording.keeping.low_memory:
            return lambda: None
        kept = laid_aside(
            [(dict(at.adjoint.parameters), dict(at.adjoint.states), dict(at.statistics)) for at in self.at],
            self.recording.folder,
        )
        self.at = []

        def fetched() -> None:
            self.at = [_At(Adjoint(parameters, states), own) for parameters, states, own in kept()]

        return fetched

    def _back(self, step: int, point: Point) -> None:
        """The adjoints before ``step``, and its slopes, at ``point``, where it left from."""
        steps = self.recording.steps
        point.put_pass(self.recording.student)
        pulls = self._before_update(step, point)
        # what the update alone needed goes before the pass is taken
        point = replace(point, parameters={}, states={})
        piece = Piece(
            self.recording.student,
            steps,
            step,
            point,
            list(self._inner.options),
            pulls,
            [at.statistics for at in self.at],
            self._norms,
        )
        done = None
        while self._ways and (done := self._ways[0](piece)) is None:
            del self._ways[0]
        index, said = piece.at_once() if done is None else done
        epoch = steps.place(step)[0] if self.values.shape[1] > 1 else 0
        self.visited[epoch, index] = True
        for number, (at, one) in enumerate(zip(self.at, said, strict=True)):
            self.values[number, epoch].index_add_(0, index, one.slope.to("cpu", torch.float64))
            if one.taught is not None:
                self.taught[number] += one.taught
            before = replace(at.adjoint, parameters=added(at.adjoint.parameters, one.parameters))
            self.at[number] = _At(before, one.statistics)

    def _before_update(self, step: int, point: Point) -> list[dict[str, Tensor]]:
        """What each target says of the step's gradient; the adjoints become those before the update."""
        rates = self.recording.steps.rates.at(step)
        inner = replace(self._inner, states=point.states).at(rates)
        pulls = []
        for number, at in enumerate(self.at):
            pull, before = through_update(inner, point.parameters, point.gradient, at.adjoint)
            pulls.append(pull)
            self.at[number] = _At(before, at.statistics)
        return pulls

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
                "and no derivative says what a weight does to its end. Smooth activations (GELU), a lower "
                "learning rate and larger batches make it smooth"
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
