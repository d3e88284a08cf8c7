"""One run of a comparison: trained once, kept in its folder, read again where it is there already."""

from __future__ import annotations

import json
import math
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metaweight.comparison.arms import arm_of
from metaweight.comparison.progress import CellProgress, TellProgress
from metaweight.core.atomic import whole_file
from metaweight.core.contracts import CollapseWarning
from metaweight.remedies import begun, run
from metaweight.tasks import COST, Finished, Outcome, iteration_cost, require_kept, tasks
from metaweight.tasks.config import RunConfig, config_from
from metaweight.tasks.figures import Result
from metaweight.training.history import History, Interrupted
from metaweight.training.run_folder import RunFolder, manifest

Progress = Callable[[CellProgress], None]
RESULT = "result.json"


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    name: str
    config: RunConfig
    noise: str
    """The kind of noise as the table prints it."""
    arm: str
    """What is compared, as the table prints it: a teacher, or a name for one with options of its own."""


def alone(config: RunConfig, name: str) -> Cell:
    """A run that is in no grid."""
    rated = config.noise != "none" and ":" not in config.noise  # human:worse is as bad as it is
    noise = f"{config.noise}@{config.noise_rate:g}" if rated else config.noise
    return Cell(name, config, noise, arm_of(config))


@dataclass(frozen=True)
class CellResult:
    """A finished or failed cell."""

    cell: Cell
    outcome: Outcome | None
    cost: float | None
    folder: Path
    error: str | None = None
    warnings: tuple[str, ...] = ()

    def row(self) -> Result | None:
        """For the table; None for a failed cell."""
        if self.outcome is None:
            return None
        figures: dict[str, float | None] = {
            name: None if math.isnan(value) else value for name, value in self.outcome.figures.items()
        }
        return Result(
            self.cell.arm, self.cell.noise, self.cell.config.seed, figures | {COST.figure: self.cost}
        )

    def finished(self) -> Finished | None:
        """For pictures and notes; None for a failed cell."""
        if self.outcome is None:
            return None
        return Finished(self.cell.config, self.cell.noise, self.cell.arm, self.outcome, self.folder)


def run_cell(cell: Cell, folder: Path, tell: Progress, *, cost: bool) -> CellResult:
    """One run in its own sub-folder; its error is part of the result, not the end of the grid.

    A run that lies there finished is read, one that was stopped goes on from its checkpoint.  Raises
    Interrupted after Ctrl-C, which is the end of the grid.
    """
    place = folder / "cells" / cell.name
    try:
        require_same_options(cell, place)
        kept = read_cell(cell, place)
        if kept is not None:
            tell(CellProgress(cell.name, cell.config.epochs, cell.config.epochs, 0.0))
            return kept
        task = tasks[cell.config.task]
        prepared = task.prepare(cell.config)
        own, resume = _enter(cell, place)
        if resume:
            require_kept(task, prepared, own)
        # shown after the table: a line in the middle of the live display would tear it
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", CollapseWarning)
            outcome = run(
                cell.config,
                own,
                prepared=prepared,
                callbacks=(TellProgress(cell.name, tell),),
                resume=resume,
            )
        spent = outcome.cost
        if cost and spent is None:
            spent = iteration_cost(cell.config, prepared)
        messages = tuple(dict.fromkeys(str(warning.message) for warning in said))
        result = CellResult(cell, outcome, spent, place, warnings=messages)
        keep(result)
    except Interrupted:
        raise
    except Exception as error:
        return failure(cell, folder, error)
    return result


def keep(result: CellResult) -> None:
    """Write result.json of a run that has ended into its folder, all of it or nothing."""
    assert result.outcome is not None
    with whole_file(result.folder / RESULT) as file:
        file.write(json.dumps(_content(result, result.outcome), indent=1).encode())


def read_cell(cell: Cell, place: Path) -> CellResult | None:
    """The result of ``cell`` that lies in ``place``; None where no run has ended there."""
    if not (place / RESULT).is_file():
        return None
    content = json.loads((place / RESULT).read_text(encoding="utf-8"))
    found = {name: content.pop(name, None) for name in _shown(cell)} | content.pop("extra")
    cost = found.pop(COST.figure)
    figures = {name: math.nan if value is None else value for name, value in found.items()}
    said, epochs = tuple(content.pop("warnings")), content.pop("history")
    layers, attention = tuple(content.pop("layers", ())), content.pop("attention", ())
    epoch = content.pop("epoch", None)
    details = {name: value for name, value in content.items() if name not in ("teacher", "noise", "seed")}
    outcome = Outcome(
        figures, History(epochs), layers, tuple(tuple(row) for row in attention), details, epoch=epoch
    )
    return CellResult(cell, outcome, cost, place, warnings=said)


def _enter(cell: Cell, place: Path) -> tuple[RunFolder, bool]:
    """The run's folder, and whether a checkpoint lies there to go on from."""
    if place.is_dir():
        there = RunFolder.open(place)
        if begun(there):
            return there, True
        shutil.rmtree(place)  # stopped before its first epoch's end
    about = {"task": cell.config.task} | manifest(asdict(cell.config), sys.argv)
    return RunFolder.create(place, about), False


def require_same_options(cell: Cell, place: Path) -> None:
    """Raise ValueError where a run with other options than ``cell``'s lies in ``place``."""
    if not place.is_dir():
        return
    theirs = config_from(type(cell.config), RunFolder.open(place).manifest()["config"])
    for name, ours in asdict(cell.config).items():
        if name != "data_dir" and getattr(theirs, name) != ours:
            raise ValueError(
                f"{place} was run with {name} {getattr(theirs, name)!r}, not {ours!r}: "
                "go on with the same options, or choose another folder"
            )


def _content(result: CellResult, outcome: Outcome) -> dict[str, Any]:
    """Of result.json: the columns' figures, the others under "extra", the epochs, what the task adds."""
    row = result.row()
    assert row is not None
    shown = _shown(result.cell)
    return {
        **{"teacher": row.teacher, "noise": row.noise, "seed": row.seed},
        **{name: row.figures.get(name) for name in shown},
        "extra": {name: value for name, value in row.figures.items() if name not in shown},
        "history": outcome.history.epochs,
        "warnings": result.warnings,
        "layers": outcome.layers,
        "attention": outcome.attention,
        "epoch": outcome.epoch,
        **outcome.details,
    }


def _shown(cell: Cell) -> list[str]:
    """The figures that have a column in the table."""
    return [column.figure for column in tasks[cell.config.task].columns]


def failure(cell: Cell, folder: Path, error: BaseException) -> CellResult:
    """The result of a cell that ended in ``error``; its first line is type and message."""
    text = f"{type(error).__name__}: {error}\n{''.join(traceback.format_exception(error))}"
    return CellResult(cell, None, None, folder / "cells" / cell.name, text)


def keep_failures(results: Sequence[CellResult], path: Path) -> None:
    """Write what ended the cells that failed; no file where none did."""
    path.unlink(missing_ok=True)  # of an earlier start
    texts = [f"{result.cell.name}\n{result.error}" for result in results if result.error is not None]
    if texts:
        path.write_text("\n\n".join(texts), encoding="utf-8")
