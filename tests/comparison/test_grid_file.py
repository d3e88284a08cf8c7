"""A grid from a TOML file: what it gives, and every mistake with its file and table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from metaweight.cli.main import main
from metaweight.comparison.grid import Grid
from metaweight.comparison.grid_file import read_plan
from metaweight.comparison.progress import CellProgress, GridProgress
from metaweight.tasks.config import ImageConfig

GRID = """
arms = ["uniform", "often"]
noises = ["uniform@0.4", "odd"]
seeds = [0, 3]
jobs = 1
[run]
train_size = 60
meta_size = 20
valid_size = 20
epochs = 2
warmup_epochs = 1
batch_size = 20
meta_batch_size = 10
model_options = { width = 4 }
[arm.often]
teacher = "mw-net"
every = 2
[noise.odd]
noise = "flip"
noise_rate = 0.2
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return path


def words(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def test_a_file_is_the_grid_that_one_would_write_in_python(path: Path) -> None:
    plan = read_plan(path)
    base = ImageConfig(
        train_size=60,
        meta_size=20,
        valid_size=20,
        epochs=2,
        warmup_epochs=1,
        batch_size=20,
        meta_batch_size=10,
        model_options={"width": 4},
    )
    assert plan.grid == Grid(
        base,
        ("uniform", "often"),
        ("uniform@0.4", "odd"),
        (0, 3),
        {"often": {"teacher": "mw-net", "every": 2}},
        {"odd": {"noise": "flip", "noise_rate": 0.2}},
    )
    assert (plan.task, plan.jobs) == ("image", 1)


def test_compare_runs_a_file_with_the_command_lines_options_over_it(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    narrowed = [
        "--arms",
        "often",
        "--seeds",
        "3",
        "--noises",
        "odd",
        "--epochs",
        "1",
        "--warmup-epochs",
        "0",
    ]
    assert main(["compare", f"--grid={path}", *narrowed, "--out", str(out)]) == 0
    with (out / "runs.csv").open() as file:
        runs = [(row["arm"], row["noise"], row["seed"]) for row in csv.DictReader(file)]
    assert runs == [("often", "odd", "3")]
    about = (out / "cells" / "odd.often.3" / "manifest.json").read_text()
    for option in (
        '"epochs": 1',
        '"noise": "flip"',
        '"noise_rate": 0.2',
        '"teacher": "mw-net"',
        '"every": 2',
    ):
        assert option in about


def test_a_file_decides_the_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "grid.toml"
    path.write_text('task = "translation"\narms = ["uniform"]\nnoises = ["mixed@0.4"]\n[run]\nbeam = 3\n')
    plan = read_plan(path)
    assert (plan.grid.base.task, plan.grid.seeds, plan.jobs) == ("translation", (0, 1, 2), None)
    with pytest.raises(SystemExit):
        main(["compare", "--grid", str(path), "--help"])
    assert "--beam INT" in words(capsys)
    assert main(["compare", "--task", "image", "--grid", str(path)]) == 2
    assert "grid.toml is for the task 'translation', --task says 'image'" in words(capsys)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = [0, 3]", "sedes = [0, 3]", "grid.toml: a grid has no option 'sedes'. Did you mean 'seeds'"),
        ("jobs = 1", 'task = "imag"', "grid.toml: unknown task 'imag'. Did you mean 'image'"),
        ("epochs = 2", "epoch = 2", "grid.toml, [run]: a run has no option 'epoch'. Did you mean 'epochs'"),
        ("epochs = 2", 'epochs = "2"', "grid.toml, [run]: option epochs of a run is int, got '2'"),
        (
            '"often"]',
            '"offen"]',
            "grid.toml, [arm.often]: arms does not list 'often'. Did you mean 'off",
        ),
        (
            "epochs = 2",
            "seed = 2",
            "grid.toml, [run]: seed of every run is what a grid compares: list it in seeds",
        ),
        ("epochs = 2", 'noise = "flip"', "noise of every run is what a grid compares: list it in noises"),
        ("epochs = 2", 'loss = "gce"', "loss 'gce' for every run would leave no plain training"),
        ("epochs = 2", 'remedy = "glc"', "remedy 'glc' for every run would leave no plain training"),
        ("every = 2", "seed = 2", "grid.toml: seed of arm often decides what it is compared on"),
        ("every = 2", 'noise = "none"', "grid.toml: noise of arm often decides what it is compared on"),
        ("noise_rate = 0.2", "seed = 2", "grid.toml: seed of noise odd is the grid's to say"),
        (
            "[noise.odd]",
            '[noise."uniform@0.4"]\nnoise_rate = 0.1\n[noise.odd]',
            "grid.toml: noise uniform@0.4 says its rate in its name",
        ),
        ('"odd"]', '"old"]', "grid.toml, [noise.odd]: noises does not list 'odd'. Did you mean 'old'"),
        (
            "every = 2",
            "evry = 2",
            "grid.toml, [arm.often]: a run has no option 'evry'. Did you mean 'every'",
        ),
        (
            "noise_rate = 0.2",
            'noise_rate = "x"',
            "grid.toml, [noise.odd]: option noise_rate of a run is float, got 'x'",
        ),
        (
            '"mw-net"',
            '"mw-nett"',
            "grid.toml, [arm.often]: unknown teacher 'mw-nett'. Did you mean 'mw-net'",
        ),
        (
            '["uniform",',
            '["unifrm",',
            "arms: unknown arm 'unifrm': it is no teacher, remedy or loss. Did you mean 'uniform'",
        ),
        ("[0, 3]", "[3, 3]", "grid.toml: two runs would share the folder uniform-0.4.uniform.3"),
        ('["uniform",', '["often",', "grid.toml: a grid names each arm and each kind of noise once"),
        ('"odd"]', '"odd", "uniform-0.4"]', "two runs would share the folder uniform-0.4.uniform.0"),
        ("[0, 3]", '["0"]', "grid.toml: option seeds of a grid is tuple[int, ...], got ['0']"),
        ("[0, 3]", "[]", "grid.toml: a grid has no seeds: name at least one"),
        ("jobs = 1", "jobs = 0", "grid.toml: jobs is a positive number of runs side by side, got 0"),
        ("jobs = 1", "jobs = true", "grid.toml: option jobs of a grid is int | None, got True"),
        (
            "[arm.often]",
            "[arm]",
            "grid.toml, [arm.teacher]: [arm] holds a table for each name: write [arm.NAME]",
        ),
        ("[arm.often]", "[teacher.often]", "grid.toml: there is no key 'teacher': it is called 'arm' now"),
        ("arms =", "teachers =", "grid.toml: there is no key 'teachers': it is called 'arms' now"),
        ('arms = ["uniform", "often"]', "", "option arms of a grid is tuple[str, ...], got None"),
        (
            "{ width = 4 }",
            "{ widht = 4 }",
            "arm uniform: model 'convnet' has no option 'widht'. Did you mean",
        ),
        (
            "[arm.often]",
            "[arm.often]\nengine = 'higherr'",
            "[arm.often]: unknown engine 'higherr'. Did you mean",
        ),
        (
            "[arm.often]",
            "[arm.often]\nteacher_options = { width = 'wide' }",
            "[arm.often]: option width of teacher 'mw-net' is int, got 'wide'",
        ),
        ("{ width = 4 }", '["width=4"]', "model_options of a run is Mapping[str, Any], got ['width=4']"),
        ("uniform@0.4", "uniform@x", "grid.toml: a kind of noise is KIND or KIND@RATE, got 'uniform@x'"),
        ('"often"]', '"often', "grid.toml is no TOML file"),
        ("", "", "nowhere.toml: there is no such file. Did you mean 'grid.toml'"),
    ],
)
def test_mistakes_are_said_with_file_and_table(
    path: Path, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in GRID
    path.write_text(GRID.replace(old, new, 1))
    asked = path if old else path.with_name("nowhere.toml")
    assert main(["compare", "--grid", str(asked), "--out", str(path.parent / "run")]) == 2
    assert message in words(capsys)
    assert not (path.parent / "run").exists()


def test_what_every_kind_of_noise_says_anew_is_not_held_against_the_file(path: Path) -> None:
    alone = GRID.replace('"uniform@0.4", ', "").replace("epochs = 2\n", "epochs = 1\n")
    path.write_text(alone)
    with pytest.raises(ValueError, match="arm uniform: warmup_epochs=1 of 1 epochs"):
        read_plan(path)
    path.write_text(f"{alone}epochs = 2\n")
    assert {cell.config.epochs for cell in read_plan(path).grid.cells()} == {2}


PROFILES = """
seeds = [0]
[run]
data = "digits"
epochs = 9
[quick]
arms = ["uniform"]
noises = ["none"]
[quick.run]
lr = 0.1
epochs = 5
[less]
run_of = "quick"
arms = ["knn"]
noises = ["none"]
seeds = [1]
[less.run]
epochs = 3
warmup_epochs = 1
[typo]
run_of = "quik"
"""


def test_a_profile_goes_over_the_one_it_names_and_both_over_the_file(path: Path) -> None:
    path.write_text(PROFILES)
    quick, less = (read_plan(path, profile=name).grid for name in ("quick", "less"))
    assert quick == Grid(ImageConfig(data="digits", lr=0.1, epochs=5), ("uniform",), ("none",), (0,))
    assert less.base == ImageConfig(data="digits", lr=0.1, epochs=3, warmup_epochs=1)
    assert (less.arms, less.seeds) == (("knn",), (1,))


@pytest.mark.parametrize(
    ("text", "profile", "message"),
    [
        (PROFILES, [], "grid.toml: name one of its profiles with --profile: quick, less, typo"),
        (PROFILES, ["--profile", "quik"], "there is no profile 'quik'. Did you mean 'quick'"),
        (PROFILES, ["--profile=typo"], "grid.toml, profile typo: there is no profile 'quik'. Did you mean"),
        (
            PROFILES.replace('["knn"]', '["knnn"]'),
            ["--profile", "less"],
            "grid.toml, profile less, arms: unknown arm 'knnn'",
        ),
        (
            PROFILES.replace("arms = [", "teachers = [", 1),
            ["--profile", "quick"],
            "grid.toml, profile quick: there is no key 'teachers': it is called 'arms' now",
        ),
        (PROFILES.replace("seeds = [1]", "sedes = [1]"), ["--profile", "less"], "no option 'sedes'"),
        (GRID, ["--profile", "quick"], "there is no profile 'quick', for the file is one grid"),
    ],
)
def test_mistakes_of_profiles_are_said_with_them(
    path: Path, text: str, profile: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(text)
    assert main(["compare", "--grid", str(path), *profile, "--out", str(path.parent / "run")]) == 2
    assert message in words(capsys)
    assert not (path.parent / "run").exists()


def test_a_profile_needs_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--profile", "quick"]) == 2
    assert "--profile quick is a table of a grid file: name the file with --grid" in words(capsys)


def test_a_name_with_a_slash_is_no_folder(path: Path) -> None:
    path.write_text(GRID.replace('"often"]', '"a/b"]').replace("[arm.often]", '[arm."a/b"]'))
    with pytest.raises(ValueError, match="name arm and noise without a slash"):
        read_plan(path)


def test_lines_say_the_time_left_by_what_this_start_has_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("metaweight.training.progress.time.monotonic", lambda: now)
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    shown = GridProgress(console, ["a", "b", "c", "d"], counted="images")
    shown(CellProgress("a", 4, 4, 0.0))  # read: nothing was done for it
    shown(CellProgress("b", 2, 4, 0.0))  # goes on from its middle
    shown(CellProgress("c", 0, 4, 0.0))
    now = 160.0
    shown(CellProgress("b", 4, 4, 50.0))
    now = 250.0  # 1.5 cells' work in 150 s, and one cell is left
    shown(CellProgress("c", 4, 4, 50.0))
    shown(CellProgress("c", 4, 4, 50.0))
    shown(CellProgress("d", 4, 4, 50.0))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines == [
        "1/4 a  0 images/s",
        "2/4 b  50 images/s  about 0:04:00 left",
        "3/4 c  50 images/s  about 0:01:40 left",
        "4/4 d  50 images/s",
    ]
