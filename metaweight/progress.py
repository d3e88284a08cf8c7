"""Live displays of a run and of a grid; plain lines where the output is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from metaweight.callbacks import Callback, Run
from metaweight.contracts import Batch, StepReport


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class EpochProgress(Callback):
    """One line for the epoch at hand: train loss, the weights' mean and spread, what ``describe`` adds."""

    def __init__(
        self, console: Console, epochs: int, *, describe: Callable[[Mapping[str, float]], str]
    ) -> None:
        self.console, self.describe = console, describe
        self.bar = _bar(console)
        self.task = self.bar.add_task("starting", total=epochs)
        self._last: StepReport | None = None

    def __enter__(self) -> EpochProgress:
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def on_start(self, run: Run) -> None:
        self.bar.update(self.task, completed=run.epoch)

    def on_step(self, run: Run, batch: Batch, report: StepReport) -> None:
        self._last = report

    def on_epoch(self, run: Run, row: Mapping[str, float]) -> None:
        text = f"epoch {run.epoch}/{run.epochs}  train loss {row['train_loss']:.3f}"
        if self._last is not None:
            stats = self._last.stats
            text += (
                f"  weights {stats['weight_mean']:.2f} ± {stats['weight_mean'] * stats['weight_spread']:.2f}"
            )
        more = self.describe(row)
        text += f"  {more}" if more else ""
        self.bar.update(self.task, completed=run.epoch, description=text)
        if not self.console.is_terminal:
            self.console.print(text, highlight=False, soft_wrap=True)


class GridProgress:
    """Cells done of all, with those that run; a line a finished cell where there is no terminal."""

    def __init__(self, console: Console, cells: Sequence[str]) -> None:
        self.console = console
        self.cells = list(cells)
        self.bar = _bar(console)
        self.task = self.bar.add_task("starting", total=len(self.cells))
        self.shares: dict[str, float] = {}

    def __enter__(self) -> GridProgress:
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def __call__(self, name: str, done: int, of: int) -> None:
        """Take in that the cell ``name`` has done so many of its epochs."""
        self.shares[name] = done / of
        running = [f"{n} {s:.0%}" for n, s in self.shares.items() if s < 1]
        self.bar.update(
            self.task, completed=round(sum(self.shares.values()), 2), description="  ".join(running)
        )
        if done == of and not self.console.is_terminal:
            finished = sum(s >= 1 for s in self.shares.values())
            self.console.print(f"{finished}/{len(self.cells)} {name}", highlight=False, soft_wrap=True)
