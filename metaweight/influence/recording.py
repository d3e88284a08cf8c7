"""A run with the states that it passed through: taken once, and taken again a part at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.digest import digest
from metaweight.core.randomness import forked_rng
from metaweight.influence.keeping import Keeping
from metaweight.influence.mismatch import MismatchError, explained, unrepeatable
from metaweight.influence.point import Point
from metaweight.influence.record import (
    FORMAT,
    RunRecord,
    Writer,
    changed_parts,
    fingerprint,
    options_of,
    other_parts,
    read,
    surroundings,
)
from metaweight.influence.scratch import ROOM, Scratch
from metaweight.influence.segments import Segments
from metaweight.influence.steps import Steps
from metaweight.influence.store import InMemory, OnDisk, Store
from metaweight.student.student import Student
from metaweight.training.checkpoint import shapes_of

DEFAULT = Keeping()
Tell = Callable[[int, int], None]
"""Told (steps done, steps in all)."""


def silent(done: int, of: int) -> None:
    """Tells nobody."""


@dataclass
class Log:
    """What was noted while the steps were taken."""

    surroundings: dict[str, str] = field(default_factory=surroundings)
    batches: list[list[float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


class Recording:
    """The steps of one run by a student and its optimizer, which stand wherever they were left last.

    ``folder``: where the states are kept; None: in memory.  ``rehearsed``: a step of this run was taken
    twice already.  Raises ValueError where the folder holds another run.
    """

    def __init__(
        self,
        student: Student,
        optimizer: Optimizer,
        steps: Steps,
        *,
        keeping: Keeping = DEFAULT,
        folder: Path | None = None,
        rehearsed: bool = False,
    ) -> None:
        self.student, self.optimizer, self.steps, self.keeping = student, optimizer, steps, keeping
        self._rehearsed = rehearsed
        self.log = Log()
        start = Point.of(student, optimizer)
        self.segments = keeping.segments(len(steps), start, student, optimizer)
        self.folder, self.taken = folder, 0
        self.durable = 0
        """Steps that another process would find taken."""
        self.watch: Callable[[int, float], None] | None = None
        """Told (step, mean loss) of each step that was just taken; what it raises ends the recording."""
        self.off: dict[int, tuple[float, str]] = {}
        """The end of each part that was taken again -> how far it was from the state that is kept, and in
        which parameter; see ``Point.apart``."""
        self._losses: list[Tensor] = []
        self._rates = ""
        self.store: Store = InMemory()
        self._writer: Writer | None = None
        if folder is not None:
            self.store = OnDisk(folder, shapes_of("student", start.parameters), student.device)
            self._writer = Writer(folder)
            self._rates = digest(str(steps.rates.at(step)) for step in range(len(steps)))
            found = read(folder)
            if found is not None:
                self._go_on_with(found, start)
        self.store = self.keeping.over(self.store, self.segments)

    def _go_on_with(self, found: RunRecord, start: Point) -> None:
        """Take up what lies in the folder."""
        if other := other_parts(self._record(), found):
            raise ValueError(
                f"{self.folder} holds a recorded run with {' and '.join(other)}; name another folder, or "
                "build the run as it was built then"
            )
        # states are as they were kept, whatever is asked now
        self.segments = Segments(found.steps, found.every)
        self.keeping = replace(self.keeping, states=found.states)
        ends = [self.store.get(0)] + ([self.store.get(found.steps)] if found.taken == found.steps else [])
        apart = [end.differs(start) for end in ends]
        if not any(what is None or what == "torch's random state" for what in apart):
            raise ValueError(
                f"{self.folder} holds a run that began and ended elsewhere than this student stands "
                f"({apart[0]} differs): seed before you build it, or name another folder"
            )
        self.log = Log(found.surroundings, found.batches, found.losses)
        self.taken = self.durable = found.taken
        for step in {0, found.taken} - {found.steps}:
            if changed := self.changed(step):
                raise ValueError(
                    f"{self.folder} holds a run that was recorded on other data: of the batch of step "
                    f"{step + 1} {changed} changed. Give the data of then, or name another folder"
                )

    def _print_of(self, step: int) -> list[float]:
        """The fingerprint of the batch of the next step; generators, from which it may draw, stay."""
        with forked_rng(self.student.device):
            return fingerprint(self.steps.batch(step))

    def changed(self, step: int) -> str:
        """What is another in that batch than when it was recorded; empty where nothing is."""
        with forked_rng(self.student.device):
            self.store.get(step).generators.restore(self.student.device)
            here = self._print_of(step)
        return changed_parts(here, self.log.batches[self.segments.places.index(step)])

    @property
    def whole(self) -> bool:
        """Whether all steps are taken."""
        return self.taken == len(self.steps)

    def take(self, tell: Tell = silent) -> None:
        """Train from the last state that is kept to the end, and keep states on the way.

        Raises MismatchError where the first step, taken twice, gives two answers.
        """
        student, optimizer = self.student, self.optimizer
        if self.taken == 0:
            if self.keeping.stops and not self._rehearsed and (said := unrepeatable(self, 0)) is not None:
                raise MismatchError(f"this run cannot be taken again. {said}")
        else:
            self.store.get(self.taken).put(student, optimizer)
        self.begin()
        for step in range(self.taken, len(self.steps)):
            self.note(step, self.steps.take(student, optimizer, step).mean(), tell)

    def begin(self) -> None:
        """The student stands where the next step starts: keep that, where it is the first one."""
        self._losses.clear()
        if self.taken == 0:
            self.store.put(0, Point.of(self.student, self.optimizer))
            self.log.losses.clear()
            self.log.batches[:] = [self._print_of(0)]

    def note(self, step: int, loss: Tensor, tell: Tell = silent) -> None:
        """A step was just taken, its mean ``loss`` before it; the state after it is kept where it is due."""
        if self.watch is not None:
            self.watch(step, float(loss))
        self._losses.append(loss.detach().double())
        after, steps = step + 1, len(self.steps)
        if not self.segments.ends_at(after):
            return
        self.log.losses += torch.stack(self._losses).tolist()
        self._losses.clear()
        self.store.put(after, Point.of(self.student, self.optimizer))
        if after < steps:
            self.log.batches.append(self._print_of(after))
        self.taken = after
        if self._writer is not None and self._writer.write(self._record(), at_once=self.whole):
            self.durable = after
        tell(after, steps)

    @contextmanager
    def again(self, first: int, end: int) -> Iterator[Scratch]:
        """Inside: the states before each of the steps ``first`` to ``end - 1``, which are taken again, the
        last one on top, each with losses and gradient of its step.

        Raises MismatchError where the last of them does not end in the state that is kept; of states that
        were rounded, where the first batch is another one.
        """
        if self.keeping.stops and self.keeping.rounds and (changed := self.changed(first)):
            raise MismatchError(
                f"the batch of step {first + 1} is not the one of then: {changed} changed. Give the data "
                "that the run was recorded on"
            )
        student, optimizer = self.student, self.optimizer
        room = 0 if self.keeping.low_memory else ROOM
        with Scratch(self.folder, room) as points:
            point = self.store.get(first)
            point.put(student, optimizer)
            for step in range(first, end):
                points.add(point)
                del point
                self.steps.take(student, optimizer, step, points.complete)
                point = Point.of(student, optimizer)
            self._hold_against(first, end, point)
            del point
            Point.forget(student, optimizer)
            yield points

    def _hold_against(self, first: int, end: int, reached: Point) -> None:
        """Raise MismatchError where the steps from ``first``, taken again, end elsewhere than they did."""
        kept = self.store.get(end)
        what = reached.differs(kept)
        if what is not None and not self.keeping.rounds and self.keeping.stops:
            raise MismatchError(explained(self, first, end, what))
        self.off[end] = (0.0, "") if what is None else reached.apart(kept)

    def end(self) -> Point:
        """The state after the last step."""
        return self.store.get(len(self.steps))

    def _record(self) -> RunRecord:
        return RunRecord(
            format=FORMAT,
            steps=len(self.steps),
            every=self.segments.every,
            samples=len(self.steps.weights),
            taken=self.taken,
            surroundings=self.log.surroundings,
            batches=self.log.batches,
            losses=self.log.losses,
            weights=self.steps.name(),
            rates=self._rates,
            max_norm=self.steps.max_norm,
            optimizer=options_of(self.optimizer),
            states=self.keeping.states,
        )
