"""Weights learnt through whole runs: train, go back through the run, move, train anew."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.core.errors import NonFiniteError
from metaweight.core.modes import modes_kept
from metaweight.influence.back import WayBack
from metaweight.influence.halves import Watching, named
from metaweight.influence.moves import Move, moves
from metaweight.influence.recording import Recording, Tell
from metaweight.influence.steps import Steps
from metaweight.influence.subjects import Subject
from metaweight.influence.targets import Said, Targets
from metaweight.training.checkpoint import load, save

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
    """[N] float64, those of the round ``best``: in [0, 2], or a teacher's, means over the visits of a sample
    (NaN where it had none)."""
    rounds: tuple[Round, ...]
    best: int
    sentences: tuple[str, ...]
    """What is to be known of how they came about."""
    cost: float
    """In plain runs, all rounds together."""


@dataclass
class Learning:
    """The rounds of one ``learn``, each a run from the same start; the first is at hand.

    ``subject``: what is learnt.  ``recording_of``: steps and a folder -> the run of them, standing at its
    start, not yet taken.
    ``driving``: the loss that slopes are of.  ``watching``: what chooses.
    """

    subject: Subject
    recording_of: Callable[[Steps, Path | None], Recording]
    driving: Targets
    watching: Watching
    move: Move
    size: float
    patience: int
    restarts: int
    folder: Path | None
    since: int = 0
    """The round that the last restart followed."""
    cost: float = 0.0
    """In plain runs."""
    values: Tensor = field(default_factory=lambda: torch.empty(0))
    """[P], of the subject."""
    slopes: Tensor = field(default_factory=lambda: torch.empty(0))
    rounds: list[Round] = field(default_factory=list)
    best: Tensor = field(default_factory=lambda: torch.empty(0))
    now: float = 0.0
    """The driving loss at ``values``."""
    full: float = 0.0
    """The size that steps grow back to."""

    def __post_init__(self) -> None:
        if not 0 < self.size <= 1:
            raise ValueError(
                f"size, the most that a number moves in a round, lies in (0, 1], got {self.size}"
            )
        if self.patience < 1 or self.restarts < 0:
            raise ValueError(
                f"patience is 1 or more and restarts 0 or more, got {self.patience} and {self.restarts}"
            )

    @staticmethod
    def of(
        subject: Subject,
        recording_of: Callable[[Steps, Path | None], Recording],
        rows: tuple[Targets, Watching],
        move: str | None,
        size: float | None,
        patience: int,
        restarts: int,
        folder: Path | None,
    ) -> Learning:
        """``rows``: that drive, and what chooses.  ``move``, ``size`` None: as the subject moves best.

        ``folder``: where each learning has one of its own.  Raises KeyError for an unknown move.
        """
        kind, size = moves[subject.move if move is None else move], subject.size if size is None else size
        name = named(*rows, subject.name(), kind.__name__, size, patience, restarts)
        place = None if folder is None else folder / f"learn-{name}"
        return Learning(subject, recording_of, *rows, kind(), size, patience, restarts, place)

    def go(self, begun: Recording | None, rounds: int, tell: Tell) -> None:
        """At most ``rounds`` rounds after the first, which is ``begun``, a whole run, where there is one."""
        if not self._taken_up():
            self.full = self.size
            self.values = self.best = self.subject.first()
            self.cost = 1.0  # the run itself, which is recorded in any case
            recording = self._trained(self.values) if begun is None else begun
            said = self._said(recording)
            loss, watched = said.loss, self._watched(recording)
            self.now = loss
            self.slopes = self._slopes(recording, said)
            self.rounds.append(Round(0, loss, watched, 0.0, True))
            self._keep()
        tell(len(self.rounds) - 1, rounds)
        while len(self.rounds) <= rounds and self._goes_on():
            self._round()
            self._keep()
            tell(len(self.rounds) - 1, rounds)

    def learnt(self, rounds: int) -> Learnt:
        """What came out of at most so many; trains the student with the best once more."""
        last = self.recording_of(self.subject.steps(self.best), None)
        last.take()
        weights = self.subject.weights(last)
        return Learnt(weights, tuple(self.rounds), self._best().number, self._sentences(rounds), self.cost)

    def _round(self) -> None:
        """Move, train, and stay there or go back."""
        before = self.move.state_dict()
        step = self.size * self.move.direction(self.slopes).clamp(-1, 1)
        tried = self.subject.within(self.values + step)
        promised = float((self.slopes * (tried - self.values)).sum())
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
        self.values, self.now = tried, loss
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
        self.values, self.now = self.best, self._best().loss
        self.slopes = self._slopes(recording, self._said(recording))
        return True

    def _best(self) -> Round:
        """By what is watched, among those that were accepted; the first of equal ones."""
        return min((r for r in self.rounds if r.accepted), key=lambda r: r.watched)

    def _trained(self, values: Tensor) -> Recording:
        place = None if self.folder is None else self.folder / "run"
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
        self.cost += 1
        recording = self.recording_of(self.subject.steps(values), place)
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
        """[P], of the driving loss."""
        self.cost += BACK
        way = WayBack(recording, [said])
        way.go()
        return self.subject.slopes(way)

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
        names = ("values", "slopes", "best", "now", "full", "size", "restarts", "since", "cost")
        state = {name: getattr(self, name) for name in names}
        return {**state, "move": self.move.state_dict(), "rounds": [asdict(row) for row in self.rounds]}

    def _shapes(self) -> dict[str, Any]:
        return {"move": type(self.move).__name__, "subject": type(self.subject).__name__}
