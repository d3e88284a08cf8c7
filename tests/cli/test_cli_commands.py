"""The command line as a newcomer meets it: help, a run, a resumed run, and every mistake in words."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import metaweight as mw
from metaweight.cli.main import main
from metaweight.report.page import read_study
from metaweight.training.run_folder import RunFolder
from metaweight.training.trainer import Trainer

SHORT = ["--epochs", "2", "--warmup-epochs", "0", "--train-size", "300", "--batch-size", "50"]
QUICK = [*SHORT, "--noise", "uniform"]


def words(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ([], ["train", "compare", "teachers", "engines", "remedies"]),
        (["train"], ["--noise-rate", "Example: metaweight train"]),
        (["compare"], ["--arms", "--noises", "--seeds"]),
        (["teachers"], ["usage: metaweight teachers"]),
        (["engines"], ["usage: metaweight engines"]),
        (["remedies"], ["usage: metaweight remedies"]),
    ],
)
def test_help_explains_itself(
    command: list[str], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    text = words(capsys)
    assert [said for said in told if said not in text] == []


def test_lists_name_everything(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["teachers"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in mw.teachers.names())
    assert main(["engines"]) == 0
    listed = words(capsys)
    assert "double backward" in listed
    assert "online windows" in listed
    assert "keep_convolutions=False" in listed  # nothing is cut where the terminal is narrow
    assert main(["remedies"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("co-teaching", "gce", "bootstrap-hard", "label-smoothing"))
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 0
    assert "usage: metaweight" in words(capsys)
    assert main(["--version"]) == 0
    assert words(capsys) == mw.__version__


def test_train_leaves_a_run_folder_with_the_weight_of_every_sample(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", *QUICK, "--teacher", "memory", "--out", str(out)]) == 0
    text = words(capsys)
    assert "test accuracy, last epoch" in text
    assert "AUROC" in text
    folder = RunFolder.open(out)
    assert [row["step"] for row in folder.read_steps()] == list(range(1, 13))
    assert folder.manifest()["config"]["teacher"] == "memory"
    assert folder.manifest()["task"] == "image"
    samples = folder.read_weights()
    assert samples.weights.shape == (2, 300)
    assert samples.probabilities.shape == (300, 10)
    torch.testing.assert_close(samples.probabilities.sum(dim=1), torch.ones(300))
    with (out / "weights.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    assert {"index", "given_label", "mean_weight", "flipped"} <= set(rows[0])
    (run,) = read_study(out).runs
    assert (run.state, run.arm, run.noise) == ("finished", "memory", "uniform@0.4")
    assert f"{run.figures['accuracy']:.2f} %" in text
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert main(["train", *QUICK, "--teacher", "memory", "--out", str(out)]) == 2
    assert "exists" in words(capsys)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_probabilities_are_those_of_the_samples_in_their_order(tmp_path: Path) -> None:
    quick = ["--epochs", "6", "--warmup-epochs", "0", "--train-size", "600", "--lr", "0.05"]
    assert (
        main(["train", *quick, "--teacher", "uniform", "--batch-size", "20", "--out", str(tmp_path / "r")])
        == 0
    )
    samples = RunFolder.open(tmp_path / "r").read_weights()
    assert (samples.predicted() == samples.clean).float().mean() > 0.9


def test_ctrl_c_says_how_to_resume_and_the_resumed_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    train = [
        sys.executable,
        "-m",
        "metaweight.cli.main",
        "train",
        "--teacher",
        "mlp",
        "--epochs",
        "400",
        *("--train-size", "300", "--batch-size", "50", "--meta-batch-size", "50"),
        "--out",
        str(out),
    ]
    process = subprocess.Popen(train, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    waited = 0.0
    while not (out / "checkpoint.pt").exists():
        time.sleep(0.1)
        waited += 0.1
        assert process.poll() is None
        assert waited < 120
    os.kill(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"metaweight train --resume {out}" in " ".join(text.split())
    assert "Traceback" not in text
    steps = len(RunFolder.open(out).read_steps())
    real = Trainer._step

    def stopped(trainer: Trainer, window: object) -> object:
        if trainer.reweighter.steps == steps + 8:
            raise KeyboardInterrupt
        return real(trainer, window)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_step", stopped)
    assert main(["train", "--resume", str(out)]) == 130
    rows = [row["step"] for row in RunFolder.open(out).read_steps()]
    assert rows == list(range(1, len(rows) + 1))
    assert len(rows) > steps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "digit"], "unknown data set 'digit'. Did you mean 'digits'"),
        (["--data", "mnist", "--data-dir", "/nowhere"], "/nowhere"),
        (["--teacher", "memry"], "unknown teacher 'memry'. Did you mean 'memory'"),
        (["--engine", "forwards"], "Did you mean 'forward'"),
        (["--engine", "reverse", "--engine-options", "reply=snapshots"], "Did you mean 'replay'"),
        (["--engine", "reverse", "--engine-options", "replay=snapshot"], "Did you mean 'snapshots'"),
        (
            ["--engine", "reverse", "--engine-options", "through_state=1"],
            "option through_state of engine 'reverse' is bool, got 1",
        ),
        (["--engine", "forward", "--engine-options", "replay=momentum"], "no option 'replay'"),
        (
            ["--teacher", "memory", "--teacher-options", "width=wide"],
            "option width of teacher 'memory' is int, got 'wide'",
        ),
        (["--engine", "forward", "--unroll", "2"], "unrolls 1 inner step(s), not 2"),
        (["--unroll", "0"], "unroll is 1 or more"),
        (["--noise", "unifrom"], "Did you mean 'uniform'"),
        (["--noise", "human:worse"], "no human labels 'worse'"),
        (["--noise-rate", "1.5", "--noise", "uniform"], "between 0 and 1"),
        (["--taps", "blok1"], "unknown tap 'blok1'. Did you mean 'block1'"),
        (["--model", "resnet-21"], "Did you mean 'resnet-"),
        (["--model-options", "widht=4"], "no option 'widht'. Did you mean 'width'"),
        (["--teacher", "memory", "--teacher-options", "wdth=4"], "no option 'wdth'. Did you mean 'width'"),
        (["--epochs", "3"], "leave none for the teacher"),
        (["--model-options", f"width={'9' * 30}"], "option width of model 'convnet' is at most"),
        (["--epochs", "-1"], "epochs and evaluate_every are 1 or more"),
        (["--threads", "0"], "--threads is 1 or more, got 0"),
        (["--meta-size", "0"], "meta"),
        (["--meta-size", "1"], "at least 2 classes"),
        (["--train-size", "5000"], "5000"),
        (["--batch-size", "2000"], "2000"),
        (["--schedule", "on-line"], "Did you mean 'online'"),
        (["--lr-schedule", "cosin"], "Did you mean 'cosine'"),
        (["--optimizer", "adamax"], "unknown optimizer 'adamax'"),
        (["--imbalance", "tail"], "unknown imbalance 'tail'"),
        (["--teacher", "l2rw", "--every", "2"], "every=1"),
    ],
)
def test_a_mistake_is_said_in_words_and_leaves_nothing(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", *arguments, "--out", str(out)]) == 2
    assert message in words(capsys)
    assert not out.exists()


@pytest.mark.parametrize("pair", ["width", "=3"])
def test_an_option_of_a_part_is_written_with_its_value(pair: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "--teacher-options", pair])
    assert stop.value.code == 2
    assert f"--teacher-options: an option is written key=value, got {pair!r}" in words(capsys)


@pytest.mark.slow
def test_a_run_in_windows_with_an_engines_options(tmp_path: Path) -> None:
    out = tmp_path / "run"
    chosen = ["--engine", "reverse", "--engine-options", "replay=snapshots", "through_state=true"]
    more = ["--unroll", "4", "--schedule", "online", "--train-on-meta", "False", "--out", str(out)]
    assert main(["train", *QUICK, *chosen, *more]) == 0
    folder = RunFolder.open(out)
    assert [row["step"] for row in folder.read_steps()] == [4, 6, 10, 12]
    config = folder.manifest()["config"]
    assert (config["unroll"], config["engine_options"]) == (4, {"replay": "snapshots", "through_state": True})


@pytest.mark.slow
def test_a_run_whose_engine_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, chosen = tmp_path / "run", ["--engine-options", "cost=measured"]
    assert main(["train", *QUICK, "--teacher", "memory", *chosen, "--out", str(out)]) == 0
    said = r"engine auto, lookahead \((ghost|forward|double): \S+ ms, .* \(of \d+ rounds\)\)"
    assert re.search(said, words(capsys))
    assert RunFolder.open(out).manifest()["config"]["engine_options"] == {"cost": "measured"}
    state = torch.load(out / "checkpoint.pt", weights_only=True)["state"]["reweighter"]["engine"]["auto"]
    ((first, *_), *_) = state["measured"][0]["costs"]
    assert first in ("ghost", "forward", "double")
    assert main(["train", "--engine-options", "cost=clock", "--out", str(tmp_path / "other")]) == 2
    assert "cost is 'exact', 'cheap' or 'measured', got 'clock'" in words(capsys)


def test_resume_takes_no_other_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(tmp_path)]) == 2
    assert "no run folder" in words(capsys)
    out = tmp_path / "run"
    assert main(["train", *QUICK, "--out", str(out)]) == 0
    for other in (["--epochs", "3"], ["--out", str(tmp_path / "b")], ["--data", "mnist"]):
        assert main(["train", "--resume", str(out), *other]) == 2
        assert "takes the run's own options: give no others" in words(capsys)
    own = ["--epochs", "2", "--device", "cpu", "--threads", "1", "--data-dir", str(tmp_path)]
    assert main(["train", "--resume", str(out), *own]) == 0


@pytest.mark.slow
def test_a_run_of_before_tasks_had_names_is_one_of_images(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(["train", *QUICK, "--out", str(out)]) == 0
    table = (out / "weights.csv").read_bytes()
    manifest = RunFolder.open(out).manifest()
    del manifest["task"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert main(["train", "--resume", str(out)]) == 0
    assert (out / "weights.csv").read_bytes() == table


@pytest.mark.parametrize(
    "spelled", [["--task", "image"], ["--task=image"], ["--seed", "1", "--task", "image"]]
)
def test_the_task_decides_which_options_there_are(
    spelled: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", *spelled, "--help"])
    assert stop.value.code == 0
    assert "Everything that decides an image run." in words(capsys)


@pytest.mark.parametrize("command", ["train", "compare"])
def test_an_unknown_task_is_said_in_words(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--task", "imge", "--epochs", "3"]) == 2
    assert "unknown task 'imge'. Did you mean 'image'" in words(capsys)
    with pytest.raises(SystemExit) as stop:
        main([command, "--task"])
    assert stop.value.code == 2


def test_compare_prints_and_keeps_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grid"
    arguments = ["--arms", "uniform", "attention", "--noises", "uniform@0.4", "--seeds", "0", "1"]
    assert main(["compare", *SHORT, *arguments, "--jobs", "1", "--out", str(out)]) == 0
    text = words(capsys)
    assert "attention" in text
    assert str(out) in text
    with (out / "runs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
    assert "uniform@0.4" in (out / "table.md").read_text()
    for picture in ("test_accuracy", "weights", "weight_against_loss.attention", "attention.attention"):
        assert (out / "plots" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(out.glob("cells/*/weights.npz"))) == 4
    published = [*out.glob("table.*"), out / "runs.csv", *out.glob("statistics.*"), *out.glob("plots/*")]
    assert len(published) == 12
    before = {path: path.read_bytes() for path in published}
    for path in published:
        path.unlink()
    assert main(["report", str(out)]) == 0  # from what the runs left
    assert {path: path.read_bytes() for path in published} == before


@pytest.mark.parametrize(
    ("option", "listed"),
    [("--seed=7", "--seeds"), ("--noise=flip", "--noises"), ("--teacher=l2rw", "--arms")],
)
def test_compare_ignores_no_option_of_a_run(
    option: str, listed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grid"
    assert main(["compare", *SHORT, option, "--seeds", "0", "--out", str(out)]) == 2
    assert f"would change nothing here: a comparison takes {listed}" in words(capsys)
    assert not out.exists()


def test_a_failed_run_is_shown_and_the_others_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from metaweight.teachers.fixed import Random

    def broken(self: object, state: mw.StudentState) -> None:
        raise ValueError("no dice")

    monkeypatch.setattr(Random, "forward", broken)
    out = tmp_path / "grid"
    arguments = ["--arms", "random", "uniform", "--noises", "none", "--seeds", "0", "--jobs", "1"]
    assert main(["compare", *SHORT, *arguments, "--out", str(out)]) == 2
    assert "1 of 2 runs failed; none.random.0: ValueError: no dice" in words(capsys)
    assert "no dice" in (out / "failures.txt").read_text()
    table = (out / "table.md").read_text()
    assert "| uniform |" in table
    assert "**Failed, and not in these tables**: random under none, seed 0 (failures.txt)" in table
