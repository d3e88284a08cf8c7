"""Live displays of a run and of a grid; plain lines where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from metaweight.core.console import Terminal
from metaweight.core.contracts import Batch, StepReport
from metaweight.training.callbacks import Callback, Run, Throughput


def progress_bar(console: Terminal) -> Progress:
    """A line for a terminal; descriptions are text, markup in them is not obeyed."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


INTERVAL = 0.5
"""Seconds between two updates of a display within an epoch."""


class EpochProgress(Callback):
    """One line for the epoch at hand: losses, the weights' mean and spread, what ``describe`` adds, the pace.

    ``counted``: what the student is trained on, for the pace: images, tokens.
    """

    def __init__(
        self,
        console: Terminal,
        epochs: int,
        *,
        describe: Callable[[Mapping[str, float]], str],
        counted: str,
    ) -> None:
        self.console, self.describe, self.counted = console, describe, counted
        self.bar = progress_bar(console)
        self.task = self.bar.add_task("starting", total=epochs)
        self.pace = Throughput()
        self._shown = 0.0
        self._last: StepReport | None = None

    def __enter__(self) -> EpochProgress:
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def on_start(self, run: Run) -> None:
        self.pace.on_start(run)
        # a remedy has stages, each of as many epochs as it likes
        self.bar.update(self.task, completed=run.done, total=run.epochs)

    def on_step(self, run: Run, batch: Batch, report: StepReport) -> None:
        self._last = report
        self.pace.on_step(run, batch, report)
        if time.monotonic() - self._shown > INTERVAL:
            self._shown = time.monotonic()
            text = self._text(run.epoch + 1, run.epochs, report.train_loss)
            self.bar.update(self.task, completed=run.done, description=text)

    def on_epoch(self, run: Run, row: Mapping[str, float]) -> None:
        text = self._text(run.epoch, run.epochs, row["train_loss"])
        more = self.describe(row)
        text += f"  {more}" if more else ""
        self.bar.update(self.task, completed=run.epoch, description=text)
        if not self.console.is_terminal:
            self.console.print(text, soft_wrap=True)

    def _text(self, epoch: int, epochs: int, train_loss: float) -> str:
        text = f"epoch {epoch}/{epochs}  train loss {train_loss:.3f}"
        if self._last is not None:
            mean, spread = (self._last.stats[name] for name in ("weight_mean", "weight_spread"))
            text += f"  weights {mean:.2f} ± {mean * spread:.2f}  {self.pace.rate:,.0f} {self.counted}/s"
        return text
