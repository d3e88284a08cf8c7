"""Weights learnt through whole runs: train, go back through the run, move every weight, train anew."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.core.errors import NonFiniteError
from metaweight.core.modes import modes_kept
from metaweight.influence.back import WayBack
from metaweight.influence.moves import Move
from metaweight.influence.recording import Recording, Tell
from metaweight.influence.targets import Meta, Said, Targets
from metaweight.student.student import Student
from metaweight.training.checkpoint import load, save

MOST = 2.0
"""Of a sample's weight; the least is 0."""
POOR, GOOD = 0.1, 0.5
"""Shares of the fall that slopes promise: below the first steps are halved, above the second they grow."""
BACK = 4.0
"""What going back through a run costs, in plain runs."""
BY_HEART = 3
"""Rounds on end in which the driving loss falls and the watched one rises, which is then said."""


@dataclass(frozen=True)
class Round:
    """One training run with weights that were tried."""

    number: int
    """From 0, which has the weights that the run began with."""
    loss: float
    """On the trusted rows that drive the weights, at the end of the run; infinite where it got lost."""
    watched: float
    """Of the student, what chooses the best round: the lower, the better."""
    size: float
    """Of the step that led here; 0 in round 0."""
    accepted: bool
    """Whether the driving loss fell; else the step was taken back and halved."""


@dataclass(frozen=True)
class Learnt:
    """Weights by sample, from whole runs."""

    weights: Tensor
    """[N] float64 in [0, 2], those of the round ``best``."""
    rounds: tuple[Round, ...]
    best: int
    sentences: tuple[str, ...]
    """What is to be known of how they came about."""
    cost: float
    """In plain runs, all rounds together."""


@dataclass
class Learning:
    """The rounds of one ``learn``, each a run from the same start; the first is at hand.

    ``recording_of``: weights and a folder -> the run with them, standing at its start, not yet taken.
    ``driving``: the loss that slopes are of.  ``watching``: the one that chooses, or a figure of the student
    that is the better the lower it is.
    """

    recording_of: Callable[[Tensor, Path | None], Recording]
    driving: Targets
    watching: Targets | Callable[[Student], float]
    move: Move
    size: float
    patience: int
    restarts: int
    folder: Path | None
    since: int = 0
    """The round that the last restart followed."""
    cost: float = 0.0
    """In plain runs."""
    visited: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    weights: Tensor = field(default_factory=lambda: torch.empty(0))
    slopes: Tensor = field(default_factory=lambda: torch.empty(0))
    rounds: list[Round] = field(default_factory=list)
    best: Tensor = field(default_factory=lambda: torch.empty(0))
    now: float = 0.0
    """The driving loss at ``weights``."""
    full: float = 0.0
    """The size that steps grow back to."""

    def __post_init__(self) -> None:
        if not 0 < self.size <= 1:
            raise ValueError(
                f"size, the most that a weight moves in a round, lies in (0, 1], got {self.size}"
            )
        if self.patience < 1 or self.restarts < 0:
            raise ValueError(
                f"patience is 1 or more and restarts 0 or more, got {self.patience} and {self.restarts}"
            )

    def go(self, recording: Recording, rounds: int, tell: Tell) -> Learnt:
        """At most ``rounds`` rounds after ``recording``, which is whole, and whose weights come first."""
        if not self._taken_up():
            self.full, self.cost = self.size, 1.0
            said = self._said(recording)
            loss, watched = said.loss, self._watched(recording)
            self.weights = self.best = recording.steps.weights.double()
            self.now = loss
            self.slopes = self._slopes(recording, said)
            self.rounds.append(Round(0, loss, watched, 0.0, True))
            self._keep()
        tell(len(self.rounds) - 1, rounds)
        while len(self.rounds) <= rounds and self._goes_on():
            self._round()
            self._keep()
            tell(len(self.rounds) - 1, rounds)
        best = self._best().number
        return Learnt(self.best, tuple(self.rounds), best, self._sentences(rounds), self.cost)

    def _round(self) -> None:
        """Move, train, and stay there or go back."""
        before = self.move.state_dict()
        step = self.size * self.move.direction(self.slopes).clamp(-1, 1)
        tried = torch.where(self.visited, (self.weights + step).clamp(0, MOST), self.weights)
        promised = float((self.slopes * (tried - self.weights)).sum())
        try:
            recording = self._trained(tried)
            said = self._said(recording)
            loss, watched = said.loss, self._watched(recording)
        except NonFiniteError:  # with these weights the run gets lost
            loss = watched = math.inf
        accepted = loss < self.now
        self.rounds.append(Round(len(self.rounds), loss, watched, self.size, accepted))
        kept = (loss - self.now) / promised if promised < 0 else 0.0
        if kept < POOR:
            self.size /= 2
        elif kept > GOOD:
            self.size = min(1.5 * self.size, self.full)
        if not accepted:
            self.move.load_state_dict(before)
            return
        self.weights, self.now = tried, loss
        if self._best().number == len(self.rounds) - 1:
            self.best = tried
        if self._fell_lately():
            self.slopes = self._slopes(recording, said)

    def _fell_lately(self) -> bool:
        """Whether what is watched did so in the last rounds, or a restart is as near."""
        return len(self.rounds) - 1 - max(self._best().number, self.since) < self.patience

    def _goes_on(self) -> bool:
        """Whether another round is due: where nothing fell lately, from the best weights, if granted."""
        if self._fell_lately():
            return True
        if not self.restarts:
            return False
        self.restarts -= 1
        self.since = len(self.rounds) - 1
        self.full /= 2
        self.size = self.full
        self.move.load_state_dict({})
        recording = self._trained(self.best)
        self.weights, self.now = self.best, self._best().loss
        self.slopes = self._slopes(recording, self._said(recording))
        return True

    def _best(self) -> Round:
        """By what is watched, among those that were accepted; the first of equal ones."""
        return min((r for r in self.rounds if r.accepted), key=lambda r: r.watched)

    def _trained(self, weights: Tensor) -> Recording:
        place = None if self.folder is None else self.folder / "run"
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
        self.cost += 1
        recording = self.recording_of(weights, place)
        recording.take()
        return recording

    def _said(self, recording: Recording) -> Said:
        """The driving loss at the end, and what it says of the parameters there."""
        (said,) = self.driving.said(recording.student, recording.end(), "eval")
        return said

    def _watched(self, recording: Recording) -> float:
        end = recording.end()
        if not isinstance(self.watching, Targets):
            end.put_pass(recording.student)
            with modes_kept(recording.student.module):
                figure = float(self.watching(recording.student))
            if math.isnan(figure):
                raise ValueError("valid, the function that says how good a student is, gave NaN")
            return figure
        (watched,) = self.watching.said(recording.student, end, "eval")
        return watched.loss

    def _slopes(self, recording: Recording, said: Said) -> Tensor:
        """[N], less their mean over the samples that the run has visited."""
        self.cost += BACK
        values = WayBack(recording, [said]).go()[0, 0]
        self.visited = ~values.isnan()
        return torch.where(self.visited, values - values[self.visited].mean(), 0.0)

    def _sentences(self, rounds: int) -> tuple[str, ...]:
        first, best = self.rounds[0], self._best()
        found = [
            f"Round {best.number} of {len(self.rounds) - 1} is the best by the rows that choose: "
            f"{best.watched:.4g}, {first.watched:.4g} with the weights that it began with."
        ]
        taken = [r for r in self.rounds if r.accepted]
        rising = 0
        for before, after in pairwise(taken):
            rising = rising + 1 if after.loss < before.loss and after.watched > before.watched else 0
            if rising == BY_HEART:
                found.append(
                    f"From round {after.number - BY_HEART + 1} on the trusted rows that drive the weights "
                    "are being learnt by heart: their loss falls while the rows held out do worse. More "
                    "trusted rows help, more rounds do not."
                )
                break
        if best.number == rounds:
            found.append("The last round was the best: more rounds may give more.")
        return tuple(found)

    def _keep(self) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            save(self.folder / "learning.pt", self._state(), self._shapes())

    def _taken_up(self) -> bool:
        """Whether an earlier process had begun, whose state is then this one's."""
        if self.folder is None or not (path := self.folder / "learning.pt").exists():
            return False
        state = load(path, self._shapes())
        self.move.load_state_dict(state.pop("move"))
        self.rounds = [Round(**row) for row in state.pop("rounds")]
        for name, value in state.items():
            setattr(self, name, value)
        return True

    def _state(self) -> dict[str, Any]:
        names = ("visited", "weights", "slopes", "best", "now", "full", "size", "restarts", "since", "cost")
        state = {name: getattr(self, name) for name in names}
        return {**state, "move": self.move.state_dict(), "rounds": [asdict(row) for row in self.rounds]}

    def _shapes(self) -> dict[str, Any]:
        return {"move": type(self.move).__name__}


def driving_and_watching(
    meta: Meta, valid: Meta | Callable[[Student], float] | None, device: torch.device
) -> tuple[Targets, Targets | Callable[[Student], float]]:
    """What slopes are of, and what chooses; without ``valid`` each has half of the trusted rows.

    Raises ValueError for several sets, and for one row that cannot be halved.
    """
    asked = Targets.of(meta, each=False, device=device)
    watching = valid if valid is None or callable(valid) else Targets.of(valid, each=False, device=device)
    for what, given in (("meta", asked), ("valid", watching)):
        if isinstance(given, Targets) and len(given) != 1:
            raise ValueError(f"weights are learnt for one set, {what} has {len(given)}: join their batches")
    return _halved(asked) if watching is None else (asked, watching)


def named(asked: Targets, watching: Targets | Callable[[Student], float], *options: object) -> str:
    """12 digits for a learning: another one has a folder of its own."""
    chooser = watching.name() if isinstance(watching, Targets) else "a function"
    return asked.name(chooser, *map(str, options))


def require_learnable(weights: Tensor) -> None:
    """Raise ValueError where a learning cannot begin at ``weights``."""
    if bool(((weights < 0) | (weights > MOST)).any()):
        raise ValueError(f"weights are learnt in [0, {MOST:g}], and this run has some outside: begin within")


def _halved(targets: Targets) -> tuple[Targets, Targets]:
    """Every other row of one set, and the rest."""
    (batches,) = targets.sets
    halves: tuple[list[Any], list[Any]] = ([], [])
    count = 0
    for batch in batches:
        rows = torch.arange(len(batch))
        for half, batches_of_half in enumerate(halves):
            own = rows[(rows + count) % 2 == half]
            if len(own):
                batches_of_half.append(batch.rows(own))
        count += len(batch)
    first, second = halves
    if not second:
        raise ValueError(
            "one trusted row cannot be halved: give more, or rows of their own to watch (valid=)"
        )
    return replace(targets, sets=[first]), replace(targets, sets=[second])
