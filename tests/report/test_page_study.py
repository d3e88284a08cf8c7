"""Reading folders: what is finished, failed, half written, missing, or no run at all."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from grid_folders import BASE, add_plan, make_grid, write_result

from metaweight.comparison.cells import alone, keep
from metaweight.report.charts.costs import cost_spots
from metaweight.report.charts.curves import curve_of, series_of
from metaweight.report.page import read_study
from metaweight.report.page.comparison import blocks
from metaweight.report.page.headline import headline, state_of, troubles
from metaweight.report.page.samples import weight_views
from metaweight.training.run_folder import RunFolder

NAN = float("nan")


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    """mw-net failed once, attention is not finished in one seed and missing in the other."""
    make_grid(
        tmp_path / "grid",
        failed=["uniform-0.4.mw-net.1"],
        unfinished=["uniform-0.4.attention.0"],
        missing=["uniform-0.4.attention.1"],
    )
    return tmp_path / "grid"


def states(folder: Path) -> dict[str, str]:
    return {run.name.removeprefix("uniform-0.4."): run.state for run in read_study(folder).runs}


def test_every_cell_of_the_grid_has_its_state(partial: Path) -> None:
    assert states(partial) == {
        **{"uniform.0": "finished", "uniform.1": "finished", "mw-net.0": "finished", "mw-net.1": "failed"},
        **{"attention.0": "unfinished", "attention.1": "missing"},
    }


def test_failures_and_stops_are_told(partial: Path) -> None:
    study = read_study(partial)
    assert state_of(study).startswith("3 of 6 runs are finished; 1 failed, 1 not finished, 1 missing.")
    assert dict(troubles(study)) == {
        "uniform-0.4.mw-net.1": "RuntimeError: it broke",
        "uniform-0.4.attention.0": "not finished: 2 of 3 epochs so far",
    }


def test_steps_without_a_checkpoint_give_the_loss_of_each_epoch(partial: Path) -> None:
    (run,) = (run for run in read_study(partial).runs if run.state == "unfinished")
    # steps 1 to 4 with losses 2, 1, 2/3, 1/2; the second epoch begins at step 3
    assert run.epochs == (
        {"epoch": 1, "train_loss": 1.5},
        {"epoch": 2, "train_loss": pytest.approx(7 / 12, abs=1e-12)},
    )


def test_a_torn_result_counts_as_not_finished(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid")
    path = tmp_path / "grid" / "cells" / "uniform-0.4.mw-net.0" / "result.json"
    path.write_text(path.read_text()[:40])
    study = read_study(tmp_path / "grid")
    assert states(tmp_path / "grid")["mw-net.0"] == "unfinished"
    assert any("result.json of uniform-0.4.mw-net.0" in note for note in study.notes)


def test_a_torn_last_step_is_left_out_and_a_damaged_line_is_told(partial: Path) -> None:
    steps = partial / "cells" / "uniform-0.4.attention.0" / "steps.jsonl"
    whole = steps.read_text()
    steps.write_text(whole + '{"step": 5, "ep')
    assert read_study(partial).notes == ()
    steps.write_text('{"step" 1}\n' + whole)
    (note,) = read_study(partial).notes
    assert "line 1 is damaged" in note


def test_a_damaged_checkpoint_falls_back_to_the_steps(partial: Path) -> None:
    (partial / "cells" / "uniform-0.4.attention.0" / "checkpoint.pt").write_bytes(b"torn")
    study = read_study(partial)
    (run,) = (run for run in study.runs if run.state == "unfinished")
    assert len(run.epochs) == 2
    assert "checkpoint" in study.notes[0]


def test_a_resumed_grid_has_the_cells_of_all_starts(tmp_path: Path) -> None:
    grid = make_grid(tmp_path / "grid")
    later = replace(grid, seeds=(0, 2), arms=("uniform", "mlp"))
    RunFolder(tmp_path / "grid").write_manifest({"config": asdict(later)}, "manifest-2.json")
    add_plan(tmp_path / "grid", later)
    study = read_study(tmp_path / "grid")
    assert study.arms == ["uniform", "mw-net", "attention", "mlp"]
    assert [run.config.seed for run in study.runs_of("uniform", "uniform@0.4")] == [0, 1, 2]
    assert len(study.manifests) == 2


def test_a_single_run_is_finished_once_result_json_is_there(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {"task": "image", "config": asdict(BASE)})
    folder.append_step({"step": 1, "epoch": 1, "train_loss": 2.0})
    folder.flush()
    study = read_study(tmp_path / "run")
    assert study.runs[0].state == "unfinished"
    told = ("This run is not finished: 1 epoch of 3 are done.", "Make this page again when it is done.")
    assert headline(study, []) == told
    write_result(alone(BASE, "run"), tmp_path / "run", accuracy=81.5)
    (run,) = read_study(tmp_path / "run").runs
    assert run.state == "finished"
    assert run.figures["accuracy"] == 81.5


@pytest.mark.parametrize(
    ("weights", "flipped", "second", "third"),
    [
        (
            [1.0, 0.5],
            None,
            "AUROC of 0.90",
            "Look first at the 2 samples",
        ),
        ([1.0, 0.5], [False, False], "AUROC of 0.90", "None of the 2 samples with the lowest weights"),
        (
            [1.0, 0.5],
            [False, True],
            "AUROC of 0.90",
            "and the others are worth a second look",
        ),
        ([1.0, 1.0], [False, True], "Every sample has the same weight", "Compare it with a teacher"),
        ([NAN, NAN], [False, True], "No training sample was trained on", "Compare it with"),
    ],
)
def test_a_finished_run_says_what_is_known_of_its_lowest_weights(
    tmp_path: Path, weights: list[float], flipped: list[bool] | None, second: str, third: str
) -> None:
    folder = RunFolder.create(tmp_path / "run", {"task": "image", "config": asdict(BASE)})
    write_result(alone(BASE, "run"), folder.path, accuracy=81.5)
    row = torch.tensor([weights])
    known = None if flipped is None else torch.tensor(flipped)
    folder.save_weights(index=torch.arange(2), weights=row, loss=row, flipped=known)
    study = read_study(folder.path)
    said = headline(study, weight_views(study)[0])
    assert second in said[1]
    assert third in said[2]


@pytest.mark.parametrize(
    ("options", "arm", "noise"),
    [
        ({}, "uniform", "none"),
        ({"teacher": "mlp", "noise": "uniform", "noise_rate": 0.2}, "mlp", "uniform@0.2"),
        ({"remedy": "glc", "noise": "human:worse"}, "glc", "human:worse"),
        ({"teacher": "memory", "loss": "gce"}, "memory + gce", "none"),
    ],
)
def test_a_run_in_no_grid_is_named_by_what_is_not_plain(options, arm, noise) -> None:
    cell = alone(replace(BASE, **options), "run")
    assert (cell.name, cell.arm, cell.noise) == ("run", arm, noise)


def test_history_comes_from_the_checkpoint_and_from_result_json_alike(tmp_path: Path) -> None:
    from metaweight.tasks import run as train

    config = replace(BASE, teacher="attention", noise="uniform", epochs=2, train_size=200)
    folder = RunFolder.create(tmp_path / "run", {"task": "image", "config": asdict(config)})
    outcome = train(config, folder)
    (before,) = read_study(tmp_path / "run").runs
    keep(alone(config, "run"), tmp_path / "run", outcome, cost=None)
    (after,) = read_study(tmp_path / "run").runs
    assert (before.state, after.state) == ("unfinished", "finished")
    for read in (before, after):
        assert list(read.epochs) == outcome.history.epochs
        assert read.attention == outcome.attention
        assert read.layers == outcome.layers
    assert after.figures["accuracy"] == outcome.figures["accuracy"]
    assert after.figures["auroc"] == outcome.figures["auroc"]


@pytest.mark.parametrize(
    ("manifest", "error", "what"),
    [
        (None, FileNotFoundError, "no run folder"),
        ("{", ValueError, "damaged"),
        ('{"config": {"model": "x"}}', ValueError, "neither a run nor a grid"),
        ("[]", ValueError, "is damaged: it holds no names"),
        ('{"config": {"teacher": "mlp"}, "task": "imaeg"}', ValueError, "Did you mean 'image'"),
    ],
)
def test_what_is_no_run_is_one_clear_error(tmp_path: Path, manifest, error, what) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(error, match=what):
        read_study(tmp_path)


def test_curves_are_mean_and_spread_of_the_seeds(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid", seeds=(0, 2))
    study = read_study(tmp_path / "grid")
    assert (curve := curve_of(study)) is not None
    assert (curve.figure, curve.axis) == ("test_accuracy", "test accuracy, %")
    line = series_of(study, "uniform@0.4", "test_accuracy")[1]
    assert (line.name, line.x) == ("mw-net", (1.0, 2.0, 3.0))
    assert line.middle == (84.0, 85.0, 86.0)
    assert line.high == pytest.approx([m + 2**0.5 for m in line.middle], abs=1e-12)


def test_curves_have_the_epochs_that_all_seeds_have(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid")
    path = tmp_path / "grid" / "cells" / "uniform-0.4.mw-net.1" / "result.json"
    content = json.loads(path.read_text())
    del content["history"][1]
    path.write_text(json.dumps(content))
    line = series_of(read_study(tmp_path / "grid"), "uniform@0.4", "test_accuracy")[1]
    assert (line.x, line.middle) == ((1.0, 3.0), (83.5, 85.5))


def test_a_value_that_is_no_number_is_a_gap(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid")
    path = tmp_path / "grid" / "cells" / "uniform-0.4.mw-net.0" / "result.json"
    content = json.loads(path.read_text())
    content["history"][1]["test_accuracy"] = None
    path.write_text(json.dumps(content))
    line = series_of(read_study(tmp_path / "grid"), "uniform@0.4", "test_accuracy")[1]
    assert torch.tensor(line.middle).isnan().tolist() == [False, True, False]


def test_table_has_every_arm_and_what_it_gains(partial: Path) -> None:
    (block,) = blocks(read_study(partial))
    assert [line.arm for line in block.lines] == ["uniform", "mw-net", "attention"]
    assert [line.state for line in block.lines] == ["", "1 failed", "1 not finished, 1 missing"]
    uniform, mw_net, attention = (
        dict(zip(block.headings, line.entries, strict=True)) for line in block.lines
    )
    assert uniform["accuracy, %"].text == "80.5 ± 0.7"
    assert mw_net["accuracy, %"].text == "85.0"
    assert mw_net["accuracy, %"].best
    assert not uniform["accuracy, %"].best
    assert mw_net["difference to uniform [95 %]"].text == "+5.0"
    assert mw_net["wins / ties / losses"].text == "1 / 0 / 0"
    assert (uniform["seeds"].text, mw_net["seeds"].text, attention["seeds"].text) == ("2", "1 of 2", "0 of 2")
    assert attention["accuracy, %"].value is None


def test_costs_are_means_of_what_was_measured(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid")
    spots = cost_spots(read_study(tmp_path / "grid"), "uniform@0.4")
    assert [(s.name, s.x, s.y) for s in spots] == [
        *(("uniform", 4.5, 80.5), ("mw-net", 4.0, 85.5), ("attention", 5.5, 90.5)),
    ]
