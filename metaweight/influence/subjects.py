"""What is learnt through whole runs: numbers that decide how much the samples of a run weigh."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.influence.back import WayBack
from metaweight.influence.recording import Recording
from metaweight.influence.steps import Steps
from metaweight.influence.teaching import Teaching, require_teachable
from metaweight.teachers.base import Teacher

MOST = 2.0
"""Of a sample's weight; the least is 0."""


class Subject(Protocol):
    """Numbers [P], float64, as a ``Learning`` moves them from round to round."""

    move: ClassVar[str]
    """How, unless said otherwise."""
    size: ClassVar[float]
    """The most that one moves in a round, unless said otherwise."""

    @abstractmethod
    def name(self) -> str:
        """Stands for where they begin, among those of a run."""

    @abstractmethod
    def first(self) -> Tensor:
        """Where they begin, copied."""

    @abstractmethod
    def steps(self, values: Tensor) -> Steps:
        """Those of a run with ``values``."""

    @abstractmethod
    def within(self, values: Tensor) -> Tensor:
        """The nearest that they may be."""

    @abstractmethod
    def slopes(self, way: WayBack) -> Tensor:
        """Of one loss, as moves are made by, once ``way`` has gone through the run."""

    @abstractmethod
    def weights(self, recording: Recording) -> Tensor:
        """[N] float64, what samples weighed in a run that was just taken."""


@dataclass(frozen=True)
class BySample(Subject):
    """A weight in [0, 2] for every sample."""

    run: Steps
    move = "signed"
    size = 0.2

    def name(self) -> str:
        """See ``Subject``: the run's own weights."""
        return "by sample"

    def first(self) -> Tensor:
        """See ``Subject``: what the run has.  Raises ValueError where these are no weights to begin from."""
        weights = self.run.weights
        if bool(((weights < 0) | (weights > MOST)).any()):
            raise ValueError(
                f"weights are learnt in [0, {MOST:g}], and this run has some outside: begin within"
            )
        return weights.double()

    def steps(self, values: Tensor) -> Steps:
        """See ``Subject``."""
        return replace(self.run, weights=values)

    def within(self, values: Tensor) -> Tensor:
        """See ``Subject``."""
        return values.clamp(0, MOST)

    def slopes(self, way: WayBack) -> Tensor:
        """See ``Subject``: less their mean, for all weights together are a learning rate; 0 where a sample
        was in no batch."""
        values = way.values[0, 0]
        known = way.visited[0]
        return torch.where(known, values - values[known].mean(), 0.0)

    def weights(self, recording: Recording) -> Tensor:
        """See ``Subject``."""
        return recording.steps.weights.double()


@dataclass
class ByTeacher(Subject):
    """The parameters of a teacher."""

    run: Steps
    teacher: Teacher
    trusted: Sequence[Batch]
    """What it looks at."""
    move = "adam"
    size = 0.02
    _new: Mapping[str, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require_teachable(self.teacher)
        self._new = {name: value.detach().clone() for name, value in self.teacher.named_buffers()}

    def _teaching(self) -> Teaching:
        run = self.run
        return Teaching(
            self.teacher, self._new, self.trusted, len(run), len(run.weights), self.teacher.centered
        )

    def name(self) -> str:
        """See ``Subject``."""
        return self._teaching().name()

    def first(self) -> Tensor:
        """See ``Subject``."""
        return self._teaching().values()

    def steps(self, values: Tensor) -> Steps:
        """See ``Subject``: the teacher has them from now on."""
        teaching = self._teaching()
        teaching.put(values)
        return replace(self.run, visits=None, teaching=teaching)

    def within(self, values: Tensor) -> Tensor:
        """See ``Subject``."""
        return values

    def slopes(self, way: WayBack) -> Tensor:
        """See ``Subject``."""
        return way.taught[0]

    def weights(self, recording: Recording) -> Tensor:
        """See ``Subject``: means over the visits of a sample, NaN where it had none."""
        teaching = recording.steps.teaching
        assert teaching is not None
        return teaching.means()
