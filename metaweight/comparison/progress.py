"""Progress of the runs of a grid: told by each run, drawn by the process that started them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from metaweight.core.console import Terminal
from metaweight.core.contracts import Batch, StepReport
from metaweight.core.shown import shown
from metaweight.training.callbacks import Callback, Run, Throughput
from metaweight.training.progress import INTERVAL, progress_bar


@dataclass(frozen=True)
class CellProgress:
    """Where a cell of a grid stands."""

    name: str
    done: float
    """Epochs."""
    epochs: int
    rate: float
    """Targets a second."""


class TellProgress(Callback):
    """Passes a run's progress on, now and then and at the end of each epoch."""

    def __init__(self, name: str, tell: Callable[[CellProgress], None]) -> None:
        self.name, self.tell = name, tell
        self.pace = Throughput()
        self._told = 0.0

    def on_start(self, run: Run) -> None:
        self.pace.on_start(run)
        self._pass_on(run)

    def on_step(self, run: Run, batch: Batch, report: StepReport) -> None:
        self.pace.on_step(run, batch, report)
        if time.monotonic() - self._told > INTERVAL:
            self._pass_on(run)

    def on_epoch(self, run: Run, row: Mapping[str, float]) -> None:
        self._pass_on(run)

    def _pass_on(self, run: Run) -> None:
        self._told = time.monotonic()
        self.tell(CellProgress(self.name, run.done, run.epochs, self.pace.rate))


class GridProgress:
    """Cells done of all, with those that run; a line a finished cell where there is no terminal."""

    def __init__(self, console: Terminal, cells: Sequence[str], *, counted: str) -> None:
        self.console, self.counted = console, counted
        self.cells = list(cells)
        self.bar = progress_bar(console)
        self.task = self.bar.add_task("starting", total=len(self.cells))
        self.shares: dict[str, float] = {}
        self.began: dict[str, float] = {}
        """Each cell's share that an earlier start had done."""
        self.started = time.monotonic()
        self.rates: dict[str, float] = {}

    def __enter__(self) -> GridProgress:
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def __call__(self, cell: CellProgress) -> None:
        """Take in where a cell stands."""
        printed = self.shares.get(cell.name, 0.0) >= 1
        self.shares[cell.name] = cell.done / cell.epochs
        self.began.setdefault(cell.name, self.shares[cell.name])
        self.rates[cell.name] = cell.rate
        running = [f"{n} {s:.0%} {self._pace(n)}" for n, s in self.shares.items() if s < 1]
        self.bar.update(
            self.task, completed=round(sum(self.shares.values()), 2), description=shown("  ".join(running))
        )
        if cell.done == cell.epochs and not printed and not self.console.is_terminal:
            finished = sum(s >= 1 for s in self.shares.values())
            text = f"{finished}/{len(self.cells)} {cell.name}  {self._pace(cell.name)}{self._left()}"
            self.console.print(text, soft_wrap=True)

    def _left(self) -> str:
        """``  about 0:03:20 left``, as if what is left cost what was done; empty where neither is known."""
        share = sum(self.shares.values())
        worked = share - sum(self.began.values())
        rest = len(self.cells) - share
        if worked <= 0 or rest <= 0:
            return ""
        seconds = (time.monotonic() - self.started) / worked * rest
        return f"  about {timedelta(seconds=round(seconds))} left"

    def _pace(self, name: str) -> str:
        return f"{self.rates[name]:,.0f} {self.counted}/s"
