"""What is kept of each iteration: its losses, and its row of steps.jsonl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metaweight.core.contracts import StepReport
from metaweight.training.run_folder import RunFolder


class Iterations:
    """The sum of an epoch's losses and the rows of its iterations, each noted one iteration late.

    A report's numbers come from the device with the checks of the next iteration; who asks at once waits.
    """

    def __init__(self, folder: RunFolder | None) -> None:
        self.loss_sum = 0.0
        """Of all steps since it was set to 0, as far as they are noted."""
        self._folder = folder
        self._last: tuple[Mapping[str, Any], StepReport, int] | None = None

    def add(self, row: Mapping[str, Any], report: StepReport, steps: int) -> None:
        """An iteration of so many ``steps``; ``row`` leads its row."""
        self.note()
        self._last = row, report, steps

    def note(self) -> None:
        """Note the last one too."""
        if self._last is None:
            return
        (row, report, steps), self._last = self._last, None
        self.loss_sum += report.train_loss * steps
        if self._folder is not None:
            losses = {"train_loss": report.train_loss, "meta_loss": report.meta_loss}
            self._folder.append_step({**row, **losses, **report.stats})

    def forget(self) -> None:
        """Leave out the last one, where a run goes on from elsewhere."""
        self._last = None
