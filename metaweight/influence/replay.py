"""A run with a teacher, trained once more with it, while states and weights of its steps are recorded."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from metaweight.core.contracts import Batch, StepReport
from metaweight.influence.finished import Finished
from metaweight.influence.mismatch import MismatchError
from metaweight.influence.point import Generators, Point
from metaweight.influence.recording import Recording, Tell, silent
from metaweight.influence.visits import Visit, Visits, drawn
from metaweight.training.callbacks import Callback, Run
from metaweight.training.checkpoint import load, save
from metaweight.training.trainer import Trainer

FOLDER = "trainer"


class Replay(Callback):
    """Trains by the run's own Trainer, and lets a recording take note of each step.

    What the run's engine had measured is taken up, for the clock would decide otherwise now.
    The way back takes plain steps with the weights that are kept here.  Where an engine gives a step's
    gradient itself these are not the same to the last bit, which is found out at the first such step.
    """

    def __init__(self, trainer: Trainer, visits: Visits, finished: Finished) -> None:
        self.trainer, self.visits, self._finished = trainer, visits, finished
        self._tell: Tell = silent
        self._recording: Recording | None = None
        self._generators = Generators.of(trainer.reweighter.student.device)
        self._before: Point | None = None
        """The state before the next step, where that is looked at twice."""
        self._written_out = False
        r = trainer.reweighter
        self._first_taught = trainer.warmup_epochs * len(trainer.train) if r.learns else -1

    def take(self, recording: Recording, tell: Tell) -> None:
        """From the last state that is kept to the end.

        Raises MismatchError where a plain step is not the run's, and the recording stops at that.
        """
        self._recording, self._tell = recording, tell
        trainer, done = self.trainer, recording.taken
        r = trainer.reweighter
        self.visits.begin(done)
        state = self._path(done)
        if state.exists():
            content = load(state, {})
            trainer.load_state_dict(content["trainer"])
            self._written_out = content["written out"]
        else:
            recording.taken = recording.durable = 0
            with suppress(KeyError):
                r.engine.load_state_dict(r.student.module, {"auto": self._finished.engine["auto"]})
            self._save(0)
        self._generators = Generators.of(r.student.device)
        recording.begin()
        self._look_at(recording.taken)
        before, trainer.callbacks = trainer.callbacks, (self,)
        try:
            trainer.fit()
        finally:
            trainer.callbacks = before
        for path in self._folder.glob("*.pt"):
            path.unlink()

    def on_step(self, run: Run, batch: Batch, report: StepReport) -> None:
        """See ``Callback``."""
        recording, r = self._recording, self.trainer.reweighter
        assert recording is not None
        step = r.steps - 1
        after = Generators.of(r.student.device)
        visit = Visit(
            report.weights.detach().cpu(),
            self._written_out and self._taught(step),
            drawn(self._generators, after),
        )
        self.visits.note(step, visit)
        self._generators = after
        if self._before is not None:
            self._compare(recording, step, visit, self._before)
        due = recording.segments.ends_at(step + 1)
        if due:
            self.visits.write()
            self._save(step + 1)
        recording.note(step, torch.tensor(report.train_loss, dtype=torch.float64), self._tell)
        if due:
            for path in self._folder.glob("*.pt"):
                if int(path.stem) < recording.durable:
                    path.unlink()
        self._look_at(step + 1)

    def _taught(self, step: int) -> bool:
        """Whether the teacher learns at ``step``."""
        r = self.trainer.reweighter
        return 0 <= self._first_taught <= step and step % r.every == 0

    def _look_at(self, step: int) -> None:
        """Keep the state before ``step`` where a plain step from it is to be compared with the run's."""
        r = self.trainer.reweighter
        first = self._first_taught
        wanted = {0} if first < 0 else {0, first + -first % r.every}
        self._before = Point.of(r.student, r.live.optimizer) if step in wanted else None

    def _compare(self, recording: Recording, step: int, visit: Visit, before: Point) -> None:
        """Take the step again as the way back will."""
        r = self.trainer.reweighter
        student, optimizer = r.student, r.live.optimizer
        after = Point.of(student, optimizer)
        found: list[tuple[float, bool, str | None]] = []
        # attention has two forms, which draw other masks; an engine may ask for the slower one
        for written_out in (False, True) if self._taught(step) else (False,):
            self.visits.note(step, replace(visit, written_out=written_out))
            before.put(student, optimizer)
            recording.steps.take(student, optimizer, step)
            reached = Point.of(student, optimizer)
            found.append((reached.apart(after)[0], written_out, reached.differs(after)))
            if found[-1][-1] is None:
                break
        _, self._written_out, what = min(found, key=lambda one: (one[-1] is not None, one[0]))
        self.visits.note(step, replace(visit, written_out=self._written_out))
        after.put(student, optimizer)
        for p in student.parameters().values():
            p.grad = None
        if what is not None and recording.keeping.stops:
            raise MismatchError(
                f"a plain step with the weights of step {step + 1} does not end where the run's own did: "
                f"{what} differs. {self._advice(step)}"
            )

    def _advice(self, step: int) -> str:
        way = "on_difference='recorded' (--recorded) goes on from the states that are kept"
        if not self._taught(step):
            return f"The student or its data draw random numbers outside torch's global generators; {way}"
        chosen = getattr(self.trainer.reweighter.engine, "chosen", None) or self._finished.config.engine
        return (
            f"The engine ({chosen}) gave the gradient of the run's own steps, which rounds otherwise; {way} "
            "and says how far off the steps between two of them end"
        )

    @property
    def _folder(self) -> Path:
        return self.visits.folder.parent / FOLDER

    def _path(self, step: int) -> Path:
        return self._folder / f"{step:08d}.pt"

    def _save(self, step: int) -> None:
        """All that the Trainer needs to go on from before ``step``."""
        trainer = self.trainer
        state = trainer.state_dict()
        state["position"] = list(divmod(step, len(trainer.train)))
        state["callbacks"] = []
        self._folder.mkdir(exist_ok=True)
        content = {"trainer": state, "written out": self._written_out}
        save(self._path(step), content, {}, durable=False)  # the recording's own file comes after it
