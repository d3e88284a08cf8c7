"""``metaweight suspects`` on a run, and what it says where there is nothing to list."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv, write_csv
from metaweight.data.origins import COLUMNS
from metaweight.training.run_folder import RunFolder

TRAIN = ["train", "--teacher", "knn", "--noise", "uniform", "--train-size", "300", "--batch-size", "20"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    assert main([*TRAIN, "--epochs", "3", "--warmup-epochs", "1", "--lr", "0.05", "--out", str(path)]) == 0
    return path


def words(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


@pytest.mark.filterwarnings("ignore")  # cleanlab's own imports
def test_the_list_and_what_it_finds(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "suspects.csv"
    assert main(["suspects", str(finished), "--out", str(out), "--cleanlab"]) == 0
    said = words(capsys)
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    samples = RunFolder.open(finished).read_weights()
    assert len(rows) == 300
    means = [float(row["mean_weight"]) for row in rows]
    assert means == sorted(means)
    at = {int(index): place for place, index in enumerate(samples.index.tolist())}
    flipped = [bool(samples.flipped[at[int(row["index"])]]) for row in rows]
    for k in (10, 50, 100, sum(flipped)):
        assert f"│ {k} │ {sum(flipped[:k]) / k:.1%} │" in said
    assert re.search(r"│ 10 │ [0-9.%]+ │ [0-9.%]+ │ [0-9.%]+ │ [01]\.\d\d │", said)
    predicted = samples.predicted()
    assert predicted is not None
    for row in rows[:20]:
        place = at[int(row["index"])]
        labels = (
            str(int(samples.given[place])),
            str(int(predicted[place])),
        )  # digits are named by themselves
        assert (row["given_label"], row["suggested_label"]) == labels
        assert row["share"] == f"{float(samples.probabilities[place].max()):.6g}"
    history = pd.read_parquet(tmp_path / "suspects_by_epoch.parquet")
    assert list(history) == ["index", "epoch", "weight", "loss"]
    cells = history.set_index(["index", "epoch"])["weight"]
    for number, epoch in ((rows[0]["index"], 2), (rows[-1]["index"], 3)):
        assert cells[int(number), epoch] == float(samples.weights[epoch - 1, at[int(number)]])
    assert main(["suspects", str(finished), "--out", str(out)]) == 2
    assert f"{out} exists: choose another file" in words(capsys)
    out.unlink()
    assert main(["suspects", str(finished), "--out", str(out)]) == 2
    assert "suspects_by_epoch.parquet exists: choose another file" in words(capsys)


def test_without_cleanlab_it_says_so(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cleanlab.filter", None)
    out = tmp_path / "a.csv"
    assert main(["suspects", str(finished), "--out", str(out), "--cleanlab"]) == 2
    assert "cleanlab is not installed: pip install 'metaweight[cleanlab]'" in words(capsys)
    assert list(tmp_path.iterdir()) == []
    assert main(["suspects", str(finished), "--out", str(out)]) == 0
    said = words(capsys)
    assert "flipped" in said
    assert "Jaccard" not in said
    assert "label issues" not in said


@pytest.mark.filterwarnings("ignore")  # cleanlab's own imports
def test_equal_weights_have_no_first_ones(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(finished, plain)
    known = vars(RunFolder.open(plain).read_weights())
    RunFolder.open(plain).save_weights(**known | {"weights": torch.ones_like(known["weights"])})
    assert main(["suspects", str(plain), "--out", str(tmp_path / "a.csv"), "--cleanlab"]) == 0
    said = words(capsys)
    assert "all weights are equal: this run suspects nobody" in said
    assert "flipped, cleanlab" in said
    assert "shared with cleanlab" not in said
    assert "flipped │" not in said.replace("flipped, cleanlab", "")


def test_what_is_no_finished_run_is_refused(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid, going, old = (tmp_path / name for name in ("grid", "going", "old"))
    RunFolder.create(grid, {"config": {"base": {}}})
    (grid / "cells" / "none.knn.0").mkdir(parents=True)
    for copy in (going, old):
        shutil.copytree(finished, copy)
    (going / "weights.npz").unlink()
    samples = RunFolder.open(finished).read_weights()
    known = {name: value for name, value in vars(samples).items() if name != "probabilities"}
    RunFolder.open(old).save_weights(**known)
    bad = tmp_path / "bad"
    shutil.copytree(finished, bad)
    RunFolder.open(bad).save_weights(**known, probabilities=torch.full((300, 10), torch.nan))
    out = tmp_path / "out.csv"
    for folder, message in (
        (tmp_path, "is no run folder"),
        (grid, f"is a comparison: name one of its runs: {grid / 'cells' / 'none.knn.0'}"),
        (going, "weights by sample are written when a run ends"),
        (old, "has no probabilities, from which a label is suggested"),
        (bad, "probabilities hold NaN"),
    ):
        assert main(["suspects", str(folder), "--out", str(out)]) == 2
        assert message in words(capsys)
        assert not out.exists()
        assert not out.with_name("out_by_epoch.parquet").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"index,source,target\n0,a,b\n",
            "of 300 rows, the first that of index",
        ),
        (b"", "it lacks 300 of 300 rows, the first that of index"),
        (b"source,target\na,b\n", "it has no column index"),
        (b"index,source,target\n0,a\n", "line 2: 2 fields, the header has 3"),
        (b"index,source,target\n0,a,\xff\n", "is damaged: 'utf-8' codec can't decode"),
    ],
)
def test_damaged_pairs_are_named_with_their_file(
    content: bytes, message: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "pairs.csv").write_bytes(content)
    assert main(["suspects", str(run), "--out", str(tmp_path / "out.csv")]) == 2
    told = words(capsys)
    assert message in told
    assert f"{run / 'pairs.csv'}" in told
    assert not list(tmp_path.glob("out*"))


def test_classes_and_columns_that_the_run_kept(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out.csv"
    shutil.copytree(finished, run)
    index = RunFolder.open(run).read_weights().index.tolist()
    (run / "classes.json").write_text(json.dumps([f"=digit {digit}" for digit in range(10)]))
    header = (*COLUMNS, "index", "mean_weight", "note", "loss")
    write_csv(run / "rows.csv", header, (("", "", "", n, "", f'a "{n}",\nb', n) for n in reversed(index)))
    assert main(["suspects", str(run), "--out", str(out)]) == 0
    rows = read_csv(out, columns=("note", "own_loss", "given_label", "suggested_label", "loss"))
    assert len(rows) == 300
    for row in rows:
        assert row["note"] == f'a "{row["index"]}",\nb'
        assert row["own_loss"] == row["index"]
        assert row["given_label"].startswith("=digit ")
    said = words(capsys)
    assert f"{sum(row['is_suspect'] == '1' for row in rows)} of them are suspects" in said
    assert "was not tested: metaweight train --probes 0.05" in said
    (run / "classes.json").write_text('{"a": 1}')
    assert main(["suspects", str(run), "--out", str(tmp_path / "other.csv")]) == 2
    assert f"{run / 'classes.json'} is damaged: it is no list of names of classes" in words(capsys)


def test_a_remedy_that_drops_samples_is_not_told_to_plant_probes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    remedy = ["--teacher", "uniform", "--remedy", "loss-filter", "--epochs", "1", "--warmup-epochs", "0"]
    assert main(["train", *TRAIN[3:], *remedy, "--out", str(run)]) == 0
    assert main(["suspects", str(run), "--out", str(tmp_path / "out.csv")]) == 0
    said = words(capsys)
    assert "of them are suspects" in said
    assert "probes" not in said


def test_a_run_says_what_its_probes_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "out.csv"
    options = ["--probes", "0.2", "--meta-size", "120", "--epochs", "3", "--warmup-epochs", "1"]
    assert main([*TRAIN, *options, "--lr", "0.05", "--out", str(run)]) == 0
    said = words(capsys)
    assert "60 of the 120 trusted rows are planted in the training set as probes, 30 of them with" in said
    sentence = re.search(
        r"Of 100 rows of weight \S+ or less about (\d+) \(\d+ to \d+\) are wrong: \d+ of 300", said
    )
    assert sentence is not None
    samples = RunFolder.open(run).read_weights()
    assert len(samples.index) == 360
    assert len(read_csv(run / "weights.csv")) == 300
    assert main(["suspects", str(run), "--out", str(out)]) == 0
    rows = read_csv(out)
    assert sentence[0] in words(capsys)
    assert {int(row["index"]) for row in rows} == set(samples.own.index.tolist())
    suspects = [row["is_suspect"] == "1" for row in rows]
    assert suspects == sorted(suspects, reverse=True)
    assert 0 < sum(suspects) < 300
    assert set(pd.read_parquet(tmp_path / "out_by_epoch.parquet")["index"]) == set(samples.own.index.tolist())
