"""The student of the best validation epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from metaweight.remedies.base import Facts, Remedy, remedies
from metaweight.remedies.course import Course, Stage
from metaweight.tasks import Assembled
from metaweight.training.callbacks import Callback, Run


class BestStudent(Callback):
    """Keeps what the student was in the epoch that was best so far."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def on_epoch(self, run: Run, row: Mapping[str, float]) -> None:
        if run.best_epoch == run.epoch:
            state = run.reweighter.student.module.state_dict()
            self.values = {name: value.detach().clone() for name, value in state.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.values = dict(state["values"])

    def hand_out(self, trained: Assembled) -> Assembled:
        """Put that student into the run that has ended, and into its checkpoint."""
        trainer = trained.trainer
        trainer.reweighter.student.module.load_state_dict(self.values)
        trainer.save()
        return replace(trained, epoch=trainer.best_epoch)


@remedies.register("early-stopping")
@dataclass(frozen=True, kw_only=True)
class EarlyStopping(Remedy):
    """Plain training; the student of the epoch that was best on the validation set is handed out.

    ``patience``: stop after so many evaluations without a better one; None: as the run has it, which by
    default trains all epochs.  Raises ValueError for a patience below 1, and where a run has no validation
    set.
    """

    patience: int | None = None

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience of early-stopping is 1 or more, got {self.patience}")

    def check(self, facts: Facts) -> None:
        split = facts.evaluation.monitor.partition("_")[0]
        if split not in facts.evaluation.batches:
            raise ValueError(
                f"remedy {facts.name!r} chooses the epoch by the {split} set, and this run has none: "
                f"give it one ({split}_size, or {split})"
            )

    def last(self, course: Course) -> Stage:
        best = BestStudent()
        patience = course.config.patience if self.patience is None else self.patience
        config = replace(course.config, patience=patience)
        return Stage(config=config, callbacks=(best,), conclude=best.hand_out)
