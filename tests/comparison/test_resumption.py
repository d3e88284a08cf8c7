"""A comparison is of one data set and one set of options, also where it goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tiny_translation import OPTIONS, pairs, words, write

from metaweight.comparison import resumption
from metaweight.comparison.grid import Grid
from metaweight.comparison.records import read_failures
from metaweight.comparison.suite import compare
from metaweight.core.contracts import MetaweightError
from metaweight.core.lock import LockedError, only_one
from metaweight.tasks.config import TranslationConfig

QUIET = Console(quiet=True)
CELL = "cells/mixed-0.4.uniform.0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Grid, Path]:
    """A comparison that has ended, and its folder with the data beside it."""
    folder = tmp_path_factory.mktemp("made")
    path = write(folder / "colours.tsv", pairs(0, 200))
    sizes = {"train_size": 40, "meta_size": 16, "valid_size": 16, "test_size": 16}
    base = TranslationConfig(
        **{**OPTIONS, **sizes, "epochs": 1, "beam": 1, "data": f"tsv:{path}"}, meta_from_train=True
    )
    grid = Grid(base, ("uniform", "knn"), ("mixed@0.4",), (0,))
    compare(grid, folder / "grid", jobs=1, console=QUIET).require_all()
    return grid, folder


@pytest.fixture
def grid(made: tuple[Grid, Path], tmp_path: Path) -> Grid:
    """The same at another place, to be changed."""
    grid, folder = made
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return replace(grid, base=replace(grid.base, data=f"tsv:{tmp_path / 'colours.tsv'}"))


def forget() -> None:
    """Another process would read the data anew."""
    from metaweight.tasks.translation import data

    data._text.cache_clear()


def test_runs_that_have_ended_are_of_the_same_data(grid: Grid, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (tmp_path / "grid").rglob("*") if path.is_file()}
    write(tmp_path / "colours.tsv", pairs(1, 201))
    forget()
    told = rf"grid/{CELL}: the training rows, .*test rows and vocabulary are not what the run was started"
    with pytest.raises(ValueError, match=told):
        compare(replace(grid, seeds=(0, 1)), tmp_path / "grid", jobs=1, console=QUIET, resume=True)
    assert {path: path.read_bytes() for path in (tmp_path / "grid").rglob("*") if path.is_file()} == before


def test_each_data_set_is_prepared_once_and_may_have_moved(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = (tmp_path / "colours.tsv").rename(tmp_path / "moved.tsv")
    forget()
    there = replace(grid, base=replace(grid.base, data=f"tsv:{moved}"))
    prepared, real = [], resumption.require_data

    def counted(place: Path, *rest: object) -> None:
        prepared.append(place.name)
        real(place, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(resumption, "require_data", counted)
    compare(there, tmp_path / "grid", jobs=1, console=QUIET, resume=True).require_all()
    assert prepared == ["mixed-0.4.uniform.0"]


def test_older_runs_and_other_versions_are_said_in_a_line(
    grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (tmp_path / "grid" / "cells").iterdir():
        about = json.loads((place / "manifest.json").read_text())
        about["versions"] |= {"torch": "1.0.0", "python": "3.9"}
        del about["digests"]
        about["config"]["data"] = grid.base.data
        (place / "manifest.json").write_text(json.dumps(about))
    compare(grid, tmp_path / "grid", jobs=1, console=Console(width=200), resume=True)
    said = words(capsys)
    assert "started with torch 1.0.0, now 2." in said
    assert "whether its data are the same cannot be checked (2 of the runs in the folder)" in said
    (tmp_path / "grid" / CELL / "result.json").unlink()
    with pytest.raises(ValueError, match=r"uniform\.0 was started with torch 1\.0\.0 \(now.*pip install"):
        compare(grid, tmp_path / "grid", jobs=1, console=QUIET, resume=True)


def test_one_process_at_a_time_goes_on(grid: Grid, tmp_path: Path) -> None:
    with only_one(tmp_path / "grid"), pytest.raises(LockedError, match="grid is in use: process"):
        compare(grid, tmp_path / "grid", jobs=1, console=QUIET, resume=True)
    (tmp_path / "grid" / CELL / "result.json").unlink()
    with only_one(tmp_path / "grid" / CELL), pytest.raises(MetaweightError, match="1 of 2 runs failed"):
        compare(grid, tmp_path / "grid", jobs=1, console=QUIET, resume=True).require_all()
    (failure,) = read_failures(tmp_path / "grid").values()
    assert "is in use: process" in failure.error
    compare(grid, tmp_path / "grid", jobs=1, console=QUIET, resume=True).require_all()
    assert not list((tmp_path / "grid").rglob(".lock*"))


def test_a_damaged_result_is_named_with_the_way_to_have_it_again(grid: Grid, tmp_path: Path) -> None:
    file = tmp_path / "grid" / CELL / "result.json"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    line = whole[: len(whole) // 2].count(b"\n") + 1
    with pytest.raises(
        MetaweightError, match=rf"result\.json, line {line} is damaged.*delete it, and the run's checkpoint"
    ):
        compare(grid, tmp_path / "grid", jobs=1, console=QUIET, resume=True).require_all()
    file.unlink()
    compare(grid, tmp_path / "grid", jobs=1, console=QUIET, resume=True)
    again, first = json.loads(file.read_bytes()), json.loads(whole)
    assert again["figures"]["bleu"] == first["figures"]["bleu"]


def test_a_comparison_stopped_before_its_plan_begins_anew(grid: Grid, tmp_path: Path) -> None:
    folder = tmp_path / "grid"
    (folder / "plan.json").unlink()
    shutil.rmtree(folder / "cells")
    compare(grid, folder, jobs=1, console=QUIET, resume=True).require_all()
    assert len(list(folder.glob("cells/*/result.json"))) == 2
