"""A grid that was stopped goes on: finished runs are never run again, and the table is that of one run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from published import compare
from rich.console import Console
from tiny_translation import OPTIONS, pairs, write

from metaweight.cli.main import main
from metaweight.comparison import cells
from metaweight.comparison.grid import Grid
from metaweight.comparison.progress import TellProgress
from metaweight.comparison.records import PLAN, read_failures
from metaweight.core.contracts import MetaweightError
from metaweight.tasks.config import TranslationConfig

QUIET = Console(quiet=True)
TABLES = ("table.md", "table.csv")


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    path = write(tmp_path_factory.mktemp("text") / "colours.tsv", pairs(0, 200))
    sizes = {"train_size": 60, "meta_size": 20, "valid_size": 16, "test_size": 30, "meta_from_train": True}
    base = TranslationConfig(**{**OPTIONS, **sizes, "data": f"tsv:{path}"})
    return Grid(base, ("uniform", "attention"), ("mixed@0.4",), (0, 1))


@pytest.fixture(scope="module")
def whole(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "grid"
    compare(grid, path, jobs=1, console=QUIET)
    return path


def without_times(path: Path) -> list[str]:
    """A table's cells without its cost and seconds."""
    text = path.read_text()
    if path.suffix == ".csv":
        rows = [line.split(",") for line in text.splitlines()]
        kept = [i for i, name in enumerate(rows[0]) if name != "cost" and not name.startswith("seconds")]
        return [",".join(row[i] for i in kept) for row in rows]
    first, rest = text.split("**BLEU against", 1)
    return [" | ".join(line.split(" | ")[:5]) for line in first.splitlines()] + rest.splitlines()


def ends(path: Path) -> dict[str, int]:
    """When each finished cell was written."""
    return {file.parent.name: file.stat().st_mtime_ns for file in path.glob("cells/*/result.json")}


@pytest.mark.slow  # that a stopped comparison goes on: below
def test_a_grid_in_parts_gives_the_table_of_one_run(grid: Grid, whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "grid"
    compare(replace(grid, arms=("uniform",), seeds=(0,)), path, jobs=1, console=QUIET)
    compare(replace(grid, seeds=(1,)), path, jobs=1, console=QUIET, resume=True)
    before = ends(path)
    assert set(before) == {"mixed-0.4.uniform.0", "mixed-0.4.uniform.1", "mixed-0.4.attention.1"}
    results = compare(grid, path, jobs=1, console=QUIET, resume=True)
    assert [result.failure for result in results] == [None] * 4
    after = ends(path)
    assert {name: after[name] for name in before} == before
    assert len(after) == 4
    for name in TABLES:
        assert without_times(path / name) == without_times(whole / name)
    assert sorted(file.name for file in path.glob("manifest*.json")) == [
        "manifest-2.json",
        "manifest-3.json",
        "manifest.json",
    ]
    assert json.loads((path / "manifest-2.json").read_text())["config"]["seeds"] == [1]
    assert (path / "plots" / "attention.png").is_file() == (whole / "plots" / "attention.png").is_file()
    assert {p.name for p in (path / "plots").iterdir()} == {p.name for p in (whole / "plots").iterdir()}


class Stop(TellProgress):
    """Ends one run in the middle of its second epoch."""

    def on_step(self, run: Any, *_: Any) -> None:
        if run.epoch == 1 and self.name == "mixed-0.4.attention.1":
            raise RuntimeError("stopped by hand")


def test_a_stopped_run_goes_on_from_its_checkpoint(
    grid: Grid, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "grid"
    with monkeypatch.context() as patch:
        patch.setattr(cells, "TellProgress", Stop)
        with pytest.raises(MetaweightError, match=r"1 of 4 runs failed; mixed-0.4.attention.1.*stopped"):
            compare(grid, path, jobs=1, console=QUIET)
    assert (path / "failures.txt").is_file()
    assert list(read_failures(path)) == ["mixed-0.4.attention.1"]
    place = path / "cells" / "mixed-0.4.attention.1"
    assert not (place / "result.json").exists()
    resumed, real = [], cells.run

    def watched(*args: Any, resume: bool, **rest: Any) -> Any:
        resumed.append(resume)
        return real(*args, resume=resume, **rest)

    monkeypatch.setattr(cells, "run", watched)
    compare(grid, path, jobs=1, console=QUIET, resume=True)
    assert resumed == [True]
    assert not list(path.glob("failures.*"))
    for name in TABLES:
        assert without_times(path / name) == without_times(whole / name)


def test_a_run_without_a_checkpoint_starts_anew(grid: Grid, whole: Path, tmp_path: Path) -> None:
    path, one = tmp_path / "grid", replace(grid, arms=("uniform",), seeds=(0,))
    compare(one, path, jobs=1, console=QUIET)
    place = path / "cells" / "mixed-0.4.uniform.0"
    first = json.loads((place / "result.json").read_text())
    for name in ("result.json", "checkpoint.pt"):
        (place / name).unlink()
    compare(one, path, jobs=1, console=QUIET, resume=True)
    again = json.loads((place / "result.json").read_text())
    assert again["figures"]["bleu"] == first["figures"]["bleu"]
    assert [row["train_loss"] for row in again["history"]] == [row["train_loss"] for row in first["history"]]
    assert len((place / "steps.jsonl").read_text().splitlines()) == 6


@pytest.mark.slow
def test_runs_are_spread_over_devices_which_no_table_shows(grid: Grid, whole: Path, tmp_path: Path) -> None:
    """Begun on one, gone on with on two."""
    path = tmp_path / "grid"
    compare(replace(grid, seeds=(0,)), path, jobs=3, devices=("cpu:0",), console=QUIET)
    before = ends(path)
    compare(grid, path, jobs=3, devices=("cpu", "cpu:0"), console=QUIET, resume=True)
    after = ends(path)
    assert {name: after[name] for name in before} == before
    for name in TABLES:
        assert without_times(path / name) == without_times(whole / name)
    runs = [json.loads((folder / PLAN).read_text())["runs"] for folder in (path, whole)]
    assert {run["name"]: run for run in runs[0]} == {run["name"]: run for run in runs[1]}
    used = {
        place.name: json.loads((place / "manifest.json").read_text())["config"]["device"]
        for place in (path / "cells").iterdir()
    }
    assert {used[name] for name in before} == {"cpu:0"}
    assert set(used.values()) <= {"cpu", "cpu:0"}
    about = json.loads((path / "manifest-2.json").read_text())
    assert (about["jobs"], about["devices"]) == (2, ["cpu", "cpu:0"])
    compare(grid, path, jobs=1, console=QUIET, resume=True)
    assert ends(path) == after


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--devices", "cpu,nowhere"], "device 'nowhere' cannot be used here"),
        (["--devices", "cpu", "cpu:0", "--device", "cpu:0"], "--device cpu:0 is one for all runs"),
    ],
)
def test_devices_that_cannot_be(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *words, "--out", str(tmp_path / "a")]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_a_comparison_is_not_for_torchrun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is said once."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    said = []
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        assert main(["compare", "--out", str(tmp_path / "a")]) == 2
        said.append(" ".join(capsys.readouterr().err.split()))
    assert "2 processes were started, and a comparison starts its own: leave torchrun out" in said[0]
    assert said[1] == ""
    assert not list(tmp_path.iterdir())


def test_other_options_are_refused_before_anything_is_run(grid: Grid, whole: Path) -> None:
    before, manifests = ends(whole), sorted(whole.glob("manifest*.json"))
    other = replace(grid, base=replace(grid.base, lr=0.5))
    with pytest.raises(ValueError, match=r"was run with lr 0\.03, not 0\.5"):
        compare(other, whole, jobs=1, console=QUIET, resume=True)
    assert ends(whole) == before
    assert sorted(whole.glob("manifest*.json")) == manifests


def test_resume_wants_a_folder_that_a_grid_made(
    grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FileNotFoundError, match="is no run folder"):
        compare(grid, tmp_path, jobs=1, console=QUIET, resume=True)
    assert main(["compare", "--resume"]) == 2
    assert "--resume goes on in the folder of --out" in capsys.readouterr().err


def test_a_device_that_is_not_there_ends_before_a_folder_is_made(
    grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="device 'nowhere' cannot be used here"):
        compare(
            replace(grid, base=replace(grid.base, device="nowhere")), tmp_path / "a", jobs=1, console=QUIET
        )
    assert main(["compare", "--device", "nowhere", "--out", str(tmp_path / "b")]) == 2
    assert "device 'nowhere' cannot be used here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
