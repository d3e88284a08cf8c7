"""Options chosen on the validation set: as many tries for each arm, no look at the test set."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_images
from published import compare
from rich.console import Console

from metaweight.comparison.cells import CellResult
from metaweight.comparison.choices import ArmChoice, Choices
from metaweight.comparison.grid import Grid
from metaweight.comparison.grid_file import plan
from metaweight.comparison.records import Failure
from metaweight.comparison.tuning import Candidate, Tuning, candidates, choose, tuned
from metaweight.core.records import read_record
from metaweight.report.choices import choices_note, chosen
from metaweight.tasks import tasks
from metaweight.tasks.outcome import RunResult

BASE = tiny_images.config(epochs=1)
GRID = Grid(
    BASE, ("uniform", "mw-net"), ("none", "flip@0.2"), (0,), noise_overrides={"flip@0.2": {"lr": 0.1}}
)
SPACES = {"all": {"lr": (0.02, 0.1, 0.5)}, "mw-net": {"teacher_lr": (1e-3, 3e-3), "every": (1, 2)}}
QUIET = Console(quiet=True)


def of(tried: list[Candidate], noise: str, arm: str) -> list[Candidate]:
    return [one for one in tried if (one.noise, one.arm) == (noise, arm)]


def test_each_arm_has_the_budget_and_begins_with_its_defaults() -> None:
    tried = candidates(GRID, Tuning(5, SPACES, seeds=(7, 8)))
    mine = of(tried, "flip@0.2", "mw-net")
    assert len(mine) == 5
    assert not any(one.few for one in mine)
    for one in mine:
        assert [cell.config.seed for cell in one.cells] == [7, 8]
        assert {cell.config.noise for cell in one.cells} == {"flip"}
    assert mine[0].options == {}
    assert mine[0].cells[0].config == GRID.cell("mw-net", "flip@0.2", 7).config
    assert mine[0].cells[0].name == "flip-0.2.mw-net.7.candidate-0"
    configs = [one.cells[0].config for one in mine]
    assert all(configs.count(config) == 1 for config in configs)
    assert {option for one in mine[1:] for option in one.options} == {"lr", "teacher_lr", "every"}
    assert candidates(GRID, Tuning(5, SPACES, seeds=(7, 8))) == tried
    other = candidates(GRID, Tuning(5, SPACES, seeds=(9,)))
    assert [one.options for one in other] != [one.options for one in tried]
    names = [cell.name for one in tried for cell in one.cells]
    assert len(set(names)) == len(names)


def test_an_arm_with_fewer_combinations_takes_all_and_says_so() -> None:
    """lr has 3 values; the defaults (0.02, and 0.1 under flip) are one of them."""
    tried = candidates(GRID, Tuning(5, SPACES))
    for noise, own in (("none", 0.02), ("flip@0.2", 0.1)):
        plain = of(tried, noise, "uniform")
        assert all(one.few for one in plain)
        lrs = [one.cells[0].config.lr for one in plain]
        assert lrs[0] == own
        assert sorted(lrs) == [0.02, 0.1, 0.5]
    assert [one.options for one in candidates(GRID, Tuning(3, {}))] == [{}] * 4
    # exactly as many as the budget are not too few
    assert not any(one.few for one in of(candidates(GRID, Tuning(3, SPACES)), "none", "uniform"))


def result(one: Candidate, cell: int, row: dict[str, Any] | None) -> CellResult:
    if row is None:
        return CellResult(one.cells[cell], failure=Failure("a", "ValueError: NaN", ""))
    return CellResult(one.cells[cell], ended({"valid_accuracy": 100.0}, row))


def ended(*history: dict[str, Any], epoch: int | None = None) -> RunResult:
    return RunResult("a", "none", 7, {"accuracy": 99.0}, history=history, epoch=epoch)


def known(value: float | str) -> float | None:
    return None if value == "undefined" else float(value)


def only(choices: Choices) -> ArmChoice:
    (one,) = choices.arms
    return one


def test_the_best_is_by_the_last_epoch_the_mean_of_the_seeds_and_ties_to_the_earlier() -> None:
    tried = of(candidates(GRID, Tuning(6, SPACES, seeds=(7, 8))), "none", "mw-net")
    values = [(50.0, 60.0), (70.0, 61.0), (65.0, 66.0), (99.0, None), (99.0, "undefined"), (90.0, 0.0)]
    results = [
        result(one, cell, None if value is None else {"valid_accuracy": known(value), "test_accuracy": 7.0})
        for one, pair in zip(tried, values, strict=True)
        for cell, value in enumerate(pair)
    ]
    found = choose(tried, results, figure="valid_accuracy", higher_is_better=True)
    assert [one.score for one in only(found).tries] == [55.0, 65.5, 65.5, None, None, 45.0]
    assert only(found).chosen == 1
    lowest = choose(tried, results, figure="valid_accuracy", higher_is_better=False)
    assert only(lowest).chosen == 5
    grid = tuned(GRID, found)
    assert grid.cell("mw-net", "none", 0).config == replace(tried[1].cells[0].config, seed=0)
    assert grid.cell("mw-net", "flip@0.2", 0) == GRID.cell("mw-net", "flip@0.2", 0)
    assert only(found).tries[1].runs == tuple(cell.name for cell in tried[1].cells)
    note = choices_note(found)
    assert "| none | mw-net | " in note
    assert "| 65.5 | 55 | 6, 2 without a score |" in note
    assert "tuning seeds 7, 8" in note


def test_the_score_is_that_of_the_student_handed_out() -> None:
    """Early stopping does not hand out the last one."""
    (one,) = of(candidates(GRID, Tuning(1, {})), "none", "uniform")
    history = [{"valid_accuracy": value} for value in (60.0, 80.0, 70.0)]
    for epoch, expected in ((2, 80.0), (None, 70.0)):
        run = CellResult(one.cells[0], ended(*history, epoch=epoch))
        found = choose([one], [run], figure="valid_accuracy", higher_is_better=True)
        assert only(found).tries[0].score == expected


def test_where_every_candidate_fails_the_defaults_stay() -> None:
    tried = of(candidates(GRID, Tuning(2, SPACES)), "none", "mw-net")
    found = choose(
        tried, [result(one, 0, None) for one in tried], figure="valid_accuracy", higher_is_better=True
    )
    assert tuned(GRID, found).cell("mw-net", "none", 0) == GRID.cell("mw-net", "none", 0)
    assert "| its defaults | - | - |" in choices_note(found)


def test_a_tuned_grid_runs_with_its_choice_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    grid = replace(GRID, arms=("uniform",), noises=("none",))
    tuning = Tuning(3, {"all": {"lr": (0.5, 1e-6)}})
    path = tmp_path / "grid"
    (row,) = compare(grid, path, jobs=1, console=QUIET, tuning=tuning)
    trials = sorted(file.parent.name for file in path.glob("tuning/cells/*/result.json"))
    assert trials == [f"none.uniform.1000.candidate-{k}" for k in range(3)]
    assert sorted(file.name for file in (path / "cells").iterdir()) == ["none.uniform.0"]
    choices = read_record(Choices, path / "choices.json")
    scores = []
    for number in range(3):
        kept = json.loads(
            (path / f"tuning/cells/none.uniform.1000.candidate-{number}/result.json").read_text()
        )
        scores.append(kept["history"][-1]["valid_accuracy"])
    assert [one.score for one in only(choices).tries] == scores
    best = only(choices).tries[scores.index(max(scores))].options
    assert row.cell.config == replace(grid.cell("uniform", "none", 0).config, **best)
    assert "**Chosen on the validation set: highest valid_accuracy" in (path / "table.md").read_text()
    assert json.loads((path / "manifest.json").read_text())["tuning"]["budget"] == 3
    (words_of,) = chosen(choices)
    words = ", ".join(f"{name}={value}" for name, value in best.items()) or "its defaults"
    said = (words, f"{max(scores):.4g}", f"{scores[0]:.4g}")
    assert choices.figure == "valid_accuracy"
    assert (words_of.options, words_of.score, words_of.default_score) == said
    page = (path / "report.html").read_text()
    assert "<td>uniform</td>" + "".join(f"<td>{text}</td>" for text in said) in page
    before = {file: file.stat().st_mtime_ns for file in path.glob("**/result.json")}
    compare(grid, path, jobs=1, console=QUIET, resume=True, tuning=tuning)
    assert {file: file.stat().st_mtime_ns for file in path.glob("**/result.json")} == before
    other = replace(grid, base=replace(grid.base, lr=0.3))
    with pytest.raises(ValueError, match=r"candidate-0 was run with lr 0\.02, not 0\.3"):
        compare(other, path, jobs=1, console=QUIET, resume=True, tuning=tuning)


def test_a_file_holds_it() -> None:
    table: dict[str, Any] = {"task": "image", "arms": ["uniform", "mlp"], "noises": ["none"]}
    tune = {"budget": 4, "seeds": [9], "all": {"lr": [0.1, 1]}, "mlp": {"teacher_options": [{"width": 8}]}}
    found = plan({**table, "tune": tune}, where="grid.toml").tuning
    spaces = {"all": {"lr": (0.1, 1)}, "mlp": {"teacher_options": ({"width": 8},)}}
    assert found == Tuning(4, spaces, seeds=(9,))
    assert plan(table, where="grid.toml").tuning is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 0}, "budget is the number of candidates of an arm, at least 1, got 0"),
        ({"budget": None}, "option budget of tune is int, got None"),
        ({"budgt": 3}, "tune has no option 'budgt'. Did you mean 'budget'"),
        ({"seeds": [0]}, "seed 0 is one of the grid's: tuning has seeds of its own"),
        ({"seeds": [5, 5]}, "seeds of tuning are at least one, each once"),
        ({"figure": "test_accuracy"}, "tuning looks at the validation set alone"),
        ({"goal": "best"}, "option goal of tune is 'highest' | 'lowest' | None, got 'best'"),
        ({"mpl": {"lr": [0.1]}}, "arms does not list 'mpl'. Did you mean 'mlp'"),
        ({"mlp": {"lrr": [0.1]}}, "a run has no option 'lrr'. Did you mean 'lr'"),
        ({"mlp": {"lr": []}}, "lr of mlp has no values to choose from"),
        ({"mlp": {"lr": 0.1}}, "option lr of tune.mlp is tuple[Any, ...], got 0.1"),
        ({"mlp": {"lr": ["high"]}}, "option lr of a run is float, got 'high'"),
        ({"all": {"seed": [1, 2]}}, "seed of all decides what is compared: it is not tuned"),
        ({"mlp": {"train_size": [9, 99]}}, "train_size of mlp decides what is compared: it is not tuned"),
        ({"figure": 3}, "option figure of tune is str | None, got 3"),
    ],
)
def test_mistakes_are_said_with_their_table(change: dict[str, Any], message: str) -> None:
    tune = {"budget": 4, **change}
    table = {"task": "image", "arms": ["uniform", "mlp"], "noises": ["none"]}
    with pytest.raises((KeyError, TypeError, ValueError)) as error:
        plan({**table, "tune": tune}, where="grid.toml")
    assert error.value.args[0].startswith("grid.toml, [tune]: ")
    assert message in error.value.args[0]


def test_a_mistake_of_the_tuning_stops_before_its_first_run(tmp_path: Path) -> None:
    path = tmp_path / "grid"
    grid = replace(GRID, arms=("uniform", "gce", "co-teaching"), noises=("none",))
    rates = {"co-teaching": {"remedy_options": ({"forget_rate": 0.1}, {"forget_rat": 0.1})}}
    with pytest.raises(TypeError, match=r"no option 'forget_rat'\. Did you mean 'forget_rate'"):
        compare(grid, path, jobs=1, console=QUIET, tuning=Tuning(3, rates))
    unknown = Tuning(3, {}, figure="valid_acuracy", goal="highest")
    with pytest.raises(KeyError, match=r"nothing measures 'valid_acuracy'\. Did you mean 'valid_accuracy'"):
        compare(grid, path, jobs=1, console=QUIET, tuning=unknown)
    quotients = Tuning(3, {"gce": {"loss_options": ({"q": 0.1},)}}, figure="valid_loss", goal="lowest")
    with pytest.raises(ValueError, match="loss_options of gce changes what valid_loss is"):
        compare(grid, path, jobs=1, console=QUIET, tuning=quotients)
    assert not path.exists()


def test_trials_that_failed_are_said(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    grid = replace(GRID, arms=("uniform",), noises=("none",))
    compare(grid, tmp_path / "grid", jobs=1, console=console, tuning=Tuning(3, {"all": {"lr": (0.1, -1.0)}}))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 3 tuning runs failed" in shown
    assert "Invalid learning rate" in shown
    assert "3, all there are, 1 without a score" not in shown  # three there are, and three were asked for
    assert "3, 1 without a score" in shown


def test_another_figure_needs_a_goal_and_every_figure_a_validation_set() -> None:
    task = tasks["image"]
    evaluation = task.evaluation(BASE, task.prepare(BASE))
    assert Tuning(2, {}).scored_by(evaluation) == ("valid_accuracy", True)
    assert Tuning(2, {}, figure="valid_loss", goal="lowest").scored_by(evaluation) == ("valid_loss", False)
    with pytest.raises(ValueError, match="valid_loss has no goal"):
        Tuning(2, {}, figure="valid_loss").scored_by(evaluation)
    without = replace(BASE, valid_size=0)
    with pytest.raises(ValueError, match="tuning needs a validation set"):
        Tuning(2, {}).scored_by(task.evaluation(without, task.prepare(without)))
