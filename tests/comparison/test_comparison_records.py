"""What several starts of one grid leave together, and what a run's own details cannot touch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_images
from published import compare
from rich.console import Console

from metaweight.comparison.cells import alone, keep, planned
from metaweight.comparison.grid import Grid
from metaweight.comparison.records import (
    Failure,
    GridPlan,
    read_failures,
    read_grid_plan,
    write_failures,
    write_grid_plan,
)
from metaweight.tasks import Outcome
from metaweight.training.history import History

GRID = Grid(tiny_images.config(epochs=1), ("uniform", "mlp", "clean-and-meta"), ("none",), (0,))


def test_a_later_start_adds_its_runs_and_says_its_options_anew(tmp_path: Path) -> None:
    for grid in (GRID, replace(GRID, base=replace(GRID.base, lr=0.5), seeds=(0, 1))):
        runs = tuple(map(planned, grid.cells()))
        write_grid_plan(tmp_path, GridPlan(task="image", data="digits", runs=runs))
    plan = read_grid_plan(tmp_path)
    assert [(run.arm, run.seed) for run in plan.runs] == [
        *(("uniform", 0), ("mlp", 0), ("clean-and-meta", 0)),
        *(("uniform", 1), ("mlp", 1), ("clean-and-meta", 1)),
    ]
    assert {run.options["lr"] for run in plan.runs} == {0.5}
    assert [run.group for run in plan.runs[:3]] == ["plain", "internal", "bound"]


def test_failures_of_runs_that_were_not_started_again_stay(tmp_path: Path) -> None:
    first, second = (Failure(name, f"ValueError: {name}", "trace") for name in "ab")
    write_failures(tmp_path, ["a", "b"], [first, second])
    write_failures(tmp_path, ["a"], [])
    assert read_failures(tmp_path) == {"b": second}
    assert (tmp_path / "failures.txt").read_text() == "b\nValueError: b\ntrace"
    write_failures(tmp_path, ["b"], [])
    assert not list(tmp_path.iterdir())


def test_a_grid_of_an_older_version_is_refused(tmp_path: Path) -> None:
    compare(GRID, tmp_path / "grid", jobs=1, console=Console(quiet=True))
    (tmp_path / "grid" / "plan.json").unlink()
    with pytest.raises(ValueError, match=r"has no plan\.json: an older version of metaweight ran this grid"):
        compare(GRID, tmp_path / "grid", jobs=1, console=Console(quiet=True), resume=True)


def test_details_of_a_task_overwrite_nothing(tmp_path: Path) -> None:
    details = {"arm": "other", "seed": 9, "figures": {}, "history": 1}
    cell = alone(GRID.base, "run")
    outcome = Outcome({"accuracy": 50.0}, History([{"epoch": 1}]), details=details)
    kept = keep(cell, tmp_path, outcome, cost=2.0)
    assert (kept.arm, kept.seed, kept.figures) == (cell.arm, 0, {"accuracy": 50.0, "cost": 2.0})
    assert kept.details == details
