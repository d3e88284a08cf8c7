"""The recorded steps taken again with other weights of the samples: what each change of them really does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.contracts import Batch, MetaweightError
from metaweight.core.digest import digest
from metaweight.core.jobs import Heard, require_jobs, side_by_side, threads_each
from metaweight.core.randomness import alone
from metaweight.influence.point import Point
from metaweight.influence.recording import Tell
from metaweight.influence.steps import Steps
from metaweight.influence.targets import Mode, Targets
from metaweight.student.student import Student
from metaweight.training.history import Source
from metaweight.training.step_log import StepLog

Positions = NDArray[np.int64]
"""Of samples, ascending."""


@dataclass(frozen=True)
class Retraining:
    """A run's steps from its first state, in the same order, with the same masks and learning rates.

    The student stands wherever the last of them ended.
    """

    student: Student
    optimizer: Optimizer
    steps: Steps
    start: Point
    targets: Targets
    mode: Mode

    def end(self, weights: Tensor) -> Point:
        """Where the run ends with ``weights`` [N].  Raises NonFiniteError where a loss is NaN or infinite."""
        steps = replace(self.steps, weights=weights)
        with alone():
            self.start.put(self.student, self.optimizer)
            for step in range(len(steps)):
                steps.take(self.student, self.optimizer, step)
            return Point.of(self.student, self.optimizer)

    def losses(self, weights: Tensor) -> list[float]:
        """Those of the targets [Q] there."""
        end = self.end(weights)
        with alone():
            return self.targets.losses(self.student, end, self.mode)

    def without(self, left_out: Positions) -> list[float]:
        """The same where these samples have weight 0 and all others their own."""
        weights = self.steps.weights.clone()
        weights[torch.from_numpy(left_out)] = 0
        return self.losses(weights)


@dataclass
class Seen:
    """A source that notes which samples its batches had."""

    source: Source
    samples: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, epoch: int, position: int) -> Batch:
        """That of the source."""
        batch = self.source.batch(epoch, position)
        self.samples.update(batch.index.tolist())
        return batch


class Kept:
    """Losses of retrainings that are done, by what they left out; in a folder for another process.

    Those of other targets or another mode have a file of their own.
    """

    def __init__(self, folder: Path | None, targets: Targets, mode: Mode) -> None:
        self.losses: dict[str, list[float]] = {}
        self._log: StepLog | None = None
        if folder is None:
            return
        place = folder / f"verify-{targets.name(mode)}"
        place.mkdir(parents=True, exist_ok=True)
        self._log = StepLog(place / "retrainings.jsonl")
        self.losses = {row["left_out"]: row["losses"] for row in self._log.read()}

    def __contains__(self, left_out: Positions) -> bool:
        return _key(left_out) in self.losses

    def of(self, left_out: Positions) -> list[float]:
        """[Q]."""
        return self.losses[_key(left_out)]

    def add(self, left_out: Positions, losses: list[float]) -> None:
        """Note what one gave, at once."""
        if self._log is not None:
            row = {"step": len(self.losses), "left_out": _key(left_out), "losses": losses}
            self._log.append(row)
            self._log.flush()
        self.losses[_key(left_out)] = losses


def retrained(
    retraining: Retraining, left_out: Sequence[Positions], kept: Kept, *, jobs: int, tell: Tell
) -> Tensor:
    """Losses [K, Q] float64 of the targets without each of the sets; those in ``kept`` are not done again.

    ``jobs``: so many at a time, in processes of their own where there are several.  ``tell``: told
    (retrainings done, in all).  Raises ValueError where student, optimizer or source cannot be pickled for
    them, MetaweightError where one is killed.
    """
    require_jobs(jobs)
    distinct = {_key(one): one for one in left_out}
    missing = [one for one in distinct.values() if one not in kept]

    def heard(result: tuple[Positions, list[float]]) -> None:
        kept.add(*result)
        tell(len(distinct) - sum(one not in kept for one in missing), len(distinct))

    if missing:
        threads = min(torch.get_num_threads(), threads_each(jobs))
        jobs = min(jobs, len(missing))
        side_by_side(_Piece(retraining), missing, jobs=jobs, threads=threads, lost=_lost, tell=heard)
    return torch.tensor([kept.of(one) for one in left_out], dtype=torch.float64)


@dataclass(frozen=True)
class _Piece:
    """One retraining, told as soon as it is done."""

    retraining: Retraining

    def __call__(self, left_out: Positions, tell: Heard, place: str | None) -> None:
        tell((left_out, self.retraining.without(left_out)))


def _lost(left_out: Positions, error: BaseException) -> None:
    raise MetaweightError(
        "a process that trained again was killed or could not begin: it may want memory, or a script that "
        "begins processes lacks `if __name__ == '__main__':`. With jobs=1 all is done in this process"
    ) from error


def _key(left_out: Positions) -> str:
    return digest(torch.from_numpy(left_out))[:16]
