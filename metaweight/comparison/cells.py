"""One run of a comparison: trained once, kept in its folder, read again where it is there already."""

from __future__ import annotations

import math
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from metaweight.comparison.arms import arm_of, group_of
from metaweight.comparison.progress import CellProgress, TellProgress
from metaweight.comparison.records import Failure, PlannedRun
from metaweight.core.atomic import WriteError
from metaweight.core.contracts import CollapseWarning
from metaweight.core.records import read_record, write_record
from metaweight.remedies import build_remedy, go_on, run
from metaweight.tasks import COST, Outcome, Prepared, iteration_cost, run_manifest, tasks
from metaweight.tasks.assembly import check_parts
from metaweight.tasks.config import RunConfig
from metaweight.tasks.outcome import RESULT, RunResult
from metaweight.training.callbacks import Callback
from metaweight.training.checkpoint import kept
from metaweight.training.history import Interrupted, check_epochs
from metaweight.training.run_folder import RunFolder

Progress = Callable[[CellProgress], None]


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    name: str
    config: RunConfig
    noise: str
    """The kind of noise as the table prints it."""
    arm: str
    """What is compared, as the table prints it: a teacher, or a name for one with options of its own."""


def check_options(config: RunConfig) -> None:
    """Raise for options that no run can have, before any data are read."""
    check_parts(config)
    check_epochs(config.epochs, config.warmup_epochs, config.evaluate_every)
    build_remedy(config)
    tasks[config.task].check(config)


def alone(config: RunConfig, name: str) -> Cell:
    """A run that is in no grid."""
    rated = config.noise != "none" and ":" not in config.noise  # human:worse is as bad as it is
    noise = f"{config.noise}@{config.noise_rate:g}" if rated else config.noise
    return Cell(name, config, noise, arm_of(config))


def planned(cell: Cell) -> PlannedRun:
    """``cell`` as a grid's plan names it."""
    return PlannedRun(
        name=cell.name,
        arm=cell.arm,
        group=group_of(cell.arm, vars(cell.config)),
        noise=cell.noise,
        seed=cell.config.seed,
        options=asdict(cell.config),
    )


@dataclass(frozen=True)
class CellResult:
    """A cell that has ended: with a result, or a failure."""

    cell: Cell
    result: RunResult | None = None
    failure: Failure | None = None


def run_cell(cell: Cell, folder: Path, tell: Progress, *, cost: bool) -> CellResult:
    """One run in its own sub-folder; its error is part of the result, not the end of the grid.

    A run that lies there finished is read, one that was stopped goes on from its checkpoint.  Raises
    Interrupted after Ctrl-C, which is the end of the grid.
    """
    place = folder / "cells" / cell.name
    try:
        if (place / RESULT).is_file():
            earlier = finished(place)
            tell(CellProgress(cell.name, cell.config.epochs, cell.config.epochs, 0.0))
            return CellResult(cell, earlier)
        prepared = tasks[cell.config.task].prepare(cell.config)
        told = (TellProgress(cell.name, tell),)
        return CellResult(cell, trained(cell, place, prepared, told, cost=cost))
    except Interrupted:
        raise
    except WriteError as error:
        return failed(cell, WriteError(f"{error}; {kept(place)}"))
    except Exception as error:
        return failed(cell, error)


def finished(place: Path) -> RunResult:
    """The result of the run that has ended in ``place``.  Raises ValueError where it is damaged."""
    try:
        return read_record(RunResult, place / RESULT)
    except ValueError as error:
        raise ValueError(f"{error}; delete it, and the run's checkpoint gives it again") from error


def trained(
    cell: Cell, place: Path, prepared: Prepared, callbacks: Sequence[Callback], *, cost: bool = False
) -> RunResult:
    """The run in ``place``, begun or gone on with, and its result; ``cost``: its cost is measured too."""
    with _entered(cell, place, prepared) as (own, resume):
        # shown after the table: a line in the middle of the live display would tear it
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CollapseWarning)
            outcome = run(
                cell.config,
                own,
                prepared=prepared,
                callbacks=callbacks,
                resume=resume,
            )
        spent = outcome.cost
        if cost and spent is None:
            spent = iteration_cost(cell.config, prepared)
        messages = tuple(dict.fromkeys(str(warning.message) for warning in caught))
        return keep(cell, place, outcome, cost=spent, warnings=messages)


@contextmanager
def _entered(cell: Cell, place: Path, prepared: Prepared) -> Iterator[tuple[RunFolder, bool]]:
    """The run's folder, held by this process, and whether it was there already."""
    there = place.is_dir()
    own = RunFolder.open(place) if there else RunFolder.create(place, run_manifest(cell.config, prepared))
    with own.held():
        if there:
            go_on(own, cell.config, prepared)
        yield own, there


def keep(
    cell: Cell, place: Path, outcome: Outcome, *, cost: float | None, warnings: tuple[str, ...] = ()
) -> RunResult:
    """Write result.json of a run that has ended into its folder, all of it or nothing; what it says.

    Raises ValueError for a figure that is infinite.
    """
    figures = {name: None if math.isnan(value) else value for name, value in outcome.figures.items()}
    result = RunResult(
        cell.arm,
        cell.noise,
        cell.config.seed,
        figures | {COST.figure: cost},
        history=tuple(outcome.history.epochs),
        epoch=outcome.epoch,
        layers=outcome.layers,
        attention=outcome.attention,
        fates=outcome.fates,
        warnings=warnings,
        details=outcome.details,
    )
    write_record(place / RESULT, result)
    return read_record(RunResult, place / RESULT)


def failed(cell: Cell, error: BaseException) -> CellResult:
    """The result of a cell that ended in ``error``."""
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    trace = "".join(traceback.format_exception(error))
    return CellResult(cell, failure=Failure(cell.name, line, trace))
