"""An arm is a teacher, or any name for a teacher with options of its own."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from rich.console import Console

from metaweight.compare import Grid
from metaweight.config import ImageConfig, TranslationConfig
from metaweight.suite import compare

BASE = ImageConfig(
    train_size=60, meta_size=20, valid_size=20, epochs=2, warmup_epochs=1, batch_size=20, meta_batch_size=10
)
QUIET = Console(quiet=True)


def test_one_teacher_in_two_arms(tmp_path: Path) -> None:
    overrides = {
        "often": {"teacher": "mw-net"},
        "seldom": {"teacher": "mw-net", "every": 3, "schedule": "online"},
    }
    grid = Grid(BASE, ("uniform", "often", "seldom"), ("uniform@0.4",), (0,), overrides)
    compare(grid, tmp_path / "grid", jobs=1, console=QUIET)
    with (tmp_path / "grid" / "runs.csv").open() as file:
        assert [row["teacher"] for row in csv.DictReader(file)] == ["uniform", "often", "seldom"]
    table = (tmp_path / "grid" / "table.md").read_text()
    assert "| often |" in table
    assert "mw-net" not in table
    about = json.loads((tmp_path / "grid/cells/uniform-0.4.seldom.0/manifest.json").read_text())
    chosen = {name: about["config"][name] for name in ("teacher", "every", "schedule")}
    assert chosen == {"teacher": "mw-net", "every": 3, "schedule": "online"}
    # read again under the arm's name, not the teacher's
    results = compare(grid, tmp_path / "grid", jobs=1, console=QUIET, resume=True)
    rows = [row for result in results if (row := result.row()) is not None]
    assert [row.teacher for row in rows] == ["uniform", "often", "seldom"]


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
    assert not (tmp_path / "grid").exists()


def test_an_arm_without_a_teacher_is_taken_for_one(tmp_path: Path) -> None:
    grid = Grid(BASE, ("uniform", "mw-nett"), ("none",), (0,), {"mw-nett": {"every": 2}})
    with pytest.raises(KeyError, match="Did you mean 'mw-net'"):
        compare(grid, tmp_path / "grid", jobs=1, console=QUIET)
    assert not (tmp_path / "grid").exists()
