"""An arm is a teacher, or any name for a teacher with options of its own."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from published import compare
from rich.console import Console

from metaweight.cli.main import main
from metaweight.comparison import cells
from metaweight.comparison.arms import group_of
from metaweight.comparison.grid import Grid
from metaweight.report.statistics.answer import answer
from metaweight.tasks.config import ImageConfig, TranslationConfig
from metaweight.tasks.outcome import Result
from metaweight.training.history import Interrupted

BASE = ImageConfig(
    train_size=60, meta_size=20, valid_size=20, epochs=2, warmup_epochs=1, batch_size=20, meta_batch_size=10
)
QUIET = Console(quiet=True)


@pytest.mark.slow
def test_one_teacher_in_two_arms(tmp_path: Path) -> None:
    overrides = {
        "often": {"teacher": "mw-net"},
        "seldom": {"teacher": "mw-net", "every": 3, "schedule": "online"},
    }
    grid = Grid(BASE, ("uniform", "often", "seldom"), ("uniform@0.4",), (0,), overrides)
    compare(grid, tmp_path / "grid", jobs=1, console=QUIET)
    with (tmp_path / "grid" / "runs.csv").open() as file:
        assert [row["arm"] for row in csv.DictReader(file)] == ["uniform", "often", "seldom"]
    table = (tmp_path / "grid" / "table.md").read_text()
    assert "| often |" in table
    assert "mw-net" not in table
    about = json.loads((tmp_path / "grid/cells/uniform-0.4.seldom.0/manifest.json").read_text())
    chosen = {name: about["config"][name] for name in ("teacher", "every", "schedule")}
    assert chosen == {"teacher": "mw-net", "every": 3, "schedule": "online"}
    # read again under the arm's name, not the teacher's
    results = compare(grid, tmp_path / "grid", jobs=1, console=QUIET, resume=True)
    assert [one.result.arm for one in results if one.result is not None] == ["uniform", "often", "seldom"]


def test_a_mistake_in_one_run_stops_before_the_first(tmp_path: Path) -> None:
    grid = Grid(BASE, ("uniform",), ("none", "clustr@0.8"), (0,))
    with pytest.raises(KeyError, match=r"unknown noise 'clustr'\. Did you mean 'cluster'"):
        compare(grid, tmp_path / "grid", jobs=1, console=QUIET)
    tail = {"tail": {"noise": "none", "imbalance": "long-tial"}}
    grid = Grid(BASE, ("uniform",), ("none", "tail"), (0,), noise_overrides=tail)
    with pytest.raises(ValueError, match=r"unknown imbalance 'long-tial'\. Did you mean 'long-tail'"):
        compare(grid, tmp_path / "grid", jobs=1, console=QUIET)
    pairs = Grid(TranslationConfig(), ("uniform",), ("none", "copied+copyed"), (0,))
    with pytest.raises(KeyError, match=r"unknown noise 'copyed' of text\. Did you mean 'copied'"):
        compare(pairs, tmp_path / "grid", jobs=1, console=QUIET)
    short = Grid(BASE, ("uniform", "mlp"), ("none",), (0,), {"mlp": {"epochs": 1}})
    with pytest.raises(ValueError, match="warmup_epochs=1 of 1 epochs leave none for the teacher"):
        compare(short, tmp_path / "grid", jobs=1, console=QUIET)
    early = Grid(replace(BASE, valid_size=0), ("uniform", "early-stopping"), ("none",), (0,))
    with pytest.raises(ValueError, match="'early-stopping' chooses the epoch by the valid set"):
        compare(early, tmp_path / "grid", jobs=1, console=QUIET)
    wild = Grid(BASE, ("uniform",), ("none", "uniform@1.4"), (0,))
    with pytest.raises(ValueError, match=r"a noise rate lies between 0 and 1, got 1\.4"):
        compare(wild, tmp_path / "grid", jobs=1, console=QUIET)
    for jobs in (0, -1):
        with pytest.raises(ValueError, match=f"jobs is a positive number of runs side by side, got {jobs}"):
            compare(Grid(BASE, ("uniform",), ("none",), (0,)), tmp_path / "grid", jobs=jobs, console=QUIET)
    for arms, noises, seeds in (
        ((), ("none",), (0,)),
        (("uniform",), (), (0,)),
        (("uniform",), ("none",), ()),
    ):
        with pytest.raises(ValueError, match=r"a grid has no .*: name at least one"):
            compare(Grid(BASE, arms, noises, seeds), tmp_path / "grid", jobs=1, console=QUIET)
    assert not (tmp_path / "grid").exists()


def test_an_arm_without_a_teacher_is_taken_for_one(tmp_path: Path) -> None:
    grid = Grid(BASE, ("uniform", "mw-nett"), ("none",), (0,), {"mw-nett": {"every": 2}})
    with pytest.raises(KeyError, match="Did you mean 'mw-net'"):
        compare(grid, tmp_path / "grid", jobs=1, console=QUIET)
    assert not (tmp_path / "grid").exists()


def test_ctrl_c_ends_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no failure of the run at hand after which the next one starts."""
    begun: list[str] = []

    def stopped(config: ImageConfig, *_: object, **__: object) -> None:
        begun.append(config.teacher)
        raise Interrupted("stopped in epoch 1 before step 2")

    monkeypatch.setattr(cells, "run", stopped)
    grid = Grid(BASE, ("uniform", "random"), ("none",), (0,))
    with pytest.raises(Interrupted):
        compare(grid, tmp_path / "grid", jobs=1, console=QUIET)
    assert begun == ["uniform"]
    assert not (tmp_path / "grid/failures.txt").exists()
    arms = ["--arms", "uniform", "random", "--jobs", "1"]
    assert main(["compare", *arms, "--out", str(tmp_path / "other")]) == 130
    assert begun == ["uniform", "uniform"]


@pytest.mark.parametrize(
    ("own", "recommended"),
    [({"remedy": "clean-and-meta"}, False), ({"remedy": "glc"}, True), ({"loss": "gce"}, True)],
)
def test_an_arm_of_any_name_is_judged_by_what_it_stands_for(own: dict[str, str], recommended: bool) -> None:
    """The bound that uses the truth is recommended under no name."""
    grid = Grid(BASE, ("uniform", "oracle", "knn"), ("none",), (0, 1), {"oracle": own})
    scores = {"uniform": 50.0, "oracle": 90.0, "knn": 60.0}
    results = [
        Result(cell.arm, cell.noise, cell.config.seed, {"accuracy": scores[cell.arm] + cell.config.seed})
        for cell in grid.cells()
    ]
    groups = {cell.arm: group_of(cell.arm, vars(cell.config)) for cell in grid.cells()}
    said = answer(results, "accuracy", unit="points", groups=groups)[2]
    assert ("oracle" in said) == recommended
