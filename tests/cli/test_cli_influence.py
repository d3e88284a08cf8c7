"""``metaweight influence`` on finished runs: what it writes, prints and refuses."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_rows import QUICK, rows, write

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv
from metaweight.core.modes import evaluating
from metaweight.core.weights import auroc
from metaweight.influence import Influence, WholeRun
from metaweight.influence.questions import Questions
from metaweight.training.run_folder import RunFolder

WRONG = (3, 10, 11, 40, 55)
IMAGES = ("--train-size", "60", "--meta-size", "20", "--valid-size", "20", "--batch-size", "20")
TINY = ("--meta-batch-size", "10", "--model-options", "width=4", "--epochs", "2", "--warmup-epochs", "0")


def words(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def test_a_table_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, trusted = (
        [{**row, "influence": "mine"} for row in own] for own in (rows(60, 0, WRONG), rows(20, 1))
    )
    train, meta = write(tmp_path / "train.csv", table), write(tmp_path / "meta.csv", trusted)
    run, files = tmp_path / "run", ("--train", str(train), "--label", "kind", "--meta", str(meta))
    arguments = ("train", "--task", "tabular", *QUICK, *files, "--teacher", "mw-net", "--out", str(run))
    assert main(arguments) == 0
    capsys.readouterr()

    assert main(["influence", str(run)]) == 2
    assert "The engine (ghost) gave the gradient" in words(capsys)
    assert not list(run.glob("influence.*"))

    assert main(["influence", str(run), "--recorded"]) == 0
    said = words(capsys)
    assert "the mean loss of the trusted rows at the end of the run, of 9 steps" in said
    assert "60 samples: more weight of" in said
    assert "warning: " in said
    assert str(run / "influence.csv") in said
    assert "AUROC" not in said

    found = Influence.load(run / "influence.npz")
    listed = read_csv(run / "influence.csv")
    names = ["index", "influence", "file", "row", "name", "x", "y", "colour", "own_influence", "kind"]
    assert list(listed[0]) == names
    values = [float(row["influence"]) for row in listed]
    assert values == sorted(values, reverse=True)
    for row in listed:
        index = int(row["index"])
        assert float(row["influence"]) == pytest.approx(float(found.values[index]), rel=1e-5)
        assert row["file"] == str(train)
        assert {name: row[name] for name in ("x", "y", "colour", "kind")} == {
            name: table[int(row["row"]) - 2][name] for name in ("x", "y", "colour", "kind")
        }
    worst = int(listed[0]["index"])
    assert re.search(rf"│ {worst} │ \+", said)

    assert main(["influence", str(run), "--recorded"]) == 2
    assert "influence.csv exists: choose another folder with --out" in words(capsys)


def test_wrong_labels_that_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    options = ("--noise", "uniform", "--teacher", "knn", "--lr", "0.1", "--threads", "1")
    assert main(["train", *IMAGES, *TINY, *options, "--out", str(run)]) == 0
    capsys.readouterr()
    out = tmp_path / "asked" / "test"
    assert main(["influence", str(run), "--of", "test", "--out", str(out), "--checkpoints", "4"]) == 0
    said = words(capsys)
    samples = RunFolder.open(run).read_weights()
    values = Influence.load(out / "influence.npz").values[samples.index]
    assert samples.flipped is not None
    ours, theirs = auroc(-values, samples.flipped), auroc(samples.mean_weight(), samples.flipped)
    assert f"wrong labels: influence {ours:.3f}, weights of the run {theirs:.3f}" in said
    assert "the mean loss of the test rows" in said
    assert not (run / "influence.csv").exists()
    assert sorted(path.stem for path in (run / "whole" / "states").iterdir()) == [
        "00000000",
        "00000004",
        "00000006",
    ]


def test_samples_of_no_batch_come_last(tmp_path: Path) -> None:
    run = tmp_path / "run"
    few = ("--batch-size", "50", "--epochs", "1", "--teacher", "uniform", "--threads", "1")
    assert main(["train", *IMAGES, *TINY, *few, "--out", str(run)]) == 0
    assert main(["influence", str(run)]) == 0
    cells = [row["influence"] for row in read_csv(run / "influence.csv")]
    assert cells[-10:] == [""] * 10
    assert all(cells[:-10])
    assert int(Influence.load(run / "influence.npz").values.isfinite().sum()) == 50


def test_single_rows_are_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Row 4 and the two worst; each answer is that of the row asked about in Python."""
    run = tmp_path / "run"
    options = ("--noise", "uniform", "--teacher", "uniform", "--lr", "0.1", "--threads", "1")
    assert main(["train", *IMAGES, *TINY, *options, "--out", str(run)]) == 0
    capsys.readouterr()
    assert main(["influence", str(run), "--of", "valid", "--rows", "4", "--worst", "2"]) == 0
    said = words(capsys)
    assert "the loss of each of 3 validation rows at the end of the run" in said
    found, questions = Influence.load(run / "questions.npz"), Questions.read(run)
    assert questions is not None
    assert not (run / "influence.npz").exists()

    whole = WholeRun.opened(run)
    source = whole.rows("valid")
    rows = [
        b.rows(torch.tensor([at]))
        for b in map(partial(source.batch, 0), range(len(source)))
        for at in range(len(b))
    ]
    whole.record()
    losses, sure = [], []
    with evaluating(whole.student.module), torch.no_grad():
        for row in rows:
            forward = whole.student(row)
            losses.append(float(forward.loss))
            sure.append(forward.outputs.softmax(1).max(1))
    worst = sorted(set(range(20)) - {4}, key=lambda at: -losses[at])[:2]
    assert [one.row for one in questions.asked] == [4, *worst]
    for one, values in zip(questions.asked, found.values, strict=True):
        assert one.loss == pytest.approx(losses[one.row], rel=1e-5)
        assert (one.given, one.index) == (int(rows[one.row].targets), int(rows[one.row].index))
        assert (one.said, one.sure) == (
            int(sure[one.row].indices),
            pytest.approx(float(sure[one.row].values)),
        )
        alone = whole.influence(rows[one.row]).values
        assert values == pytest.approx(alone, rel=1e-4, abs=1e-8, nan_ok=True)
        assert f"│ {one.row} │ {one.loss:.3g} │ {one.given} │ {one.said} ({one.sure:.0%})" in said
        most = RunFolder.open(run).read_weights().index
        assert f"{int(most[values[most].argmax()])} ({float(values[most].max()):+.2g})" in said
    listed = read_csv(run / "questions.csv")
    assert list(listed[0])[:4] == ["index", *(f"influence_{one.row}" for one in questions.asked)]
    means = [sum(float(row[f"influence_{one.row}"]) for one in questions.asked) for row in listed]
    assert means == sorted(means, reverse=True)


def test_asked_rows_of_a_table_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each part, in the order that its file has."""
    tables = {"train": rows(60, 0), "meta": rows(20, 1), "valid": rows(12, 2), "test": rows(9, 3)}
    files = [
        word
        for name, table in tables.items()
        for word in (f"--{name}", str(write(tmp_path / f"{name}.csv", table)))
    ]
    run = tmp_path / "run"
    wanted = ("--task", "tabular", *QUICK, *files, "--label", "kind", "--teacher", "uniform")
    assert main(["train", *wanted, "--out", str(run)]) == 0
    for part in ("meta", "valid", "test"):
        capsys.readouterr()
        out = tmp_path / part
        arguments = ("influence", str(run), "--of", part, "--rows", "7", "2", "--low-memory")
        assert main([*arguments, "--out", str(out)]) == 0
        assert "colour" in words(capsys)
        questions = Questions.read(out)
        assert questions is not None
        for one in questions.asked:
            there = tables[part][one.row]
            assert list(one.cells) == ["x", "y", "colour"]
            assert {name: float(one.cells[name]) for name in "xy"} == {
                name: float(there[name]) for name in "xy"
            }
            assert one.cells["colour"] == there["colour"]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("--rows", "20"), "there is no row 20 among the 20 validation rows: they count from 0"),
        (("--worst", "21"), "1 to 20 rows are asked about at once, got 21"),
        (("--worst", "-1"), "1 to 20 rows are asked about at once, got -1"),
    ],
)
def test_rows_that_there_are_not(asked: tuple[str, ...], why: str, asked_before: Path, capsys: Any) -> None:
    assert main(["influence", str(asked_before), "--of", "valid", *asked]) == 2
    assert why in words(capsys)
    assert not list(asked_before.glob("questions.*"))


@pytest.fixture(scope="module")
def asked_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("asked") / "run"
    few = ("--epochs", "1", "--teacher", "uniform", "--threads", "1")
    assert main(["train", *IMAGES, *TINY, *few, "--out", str(run)]) == 0
    return run


def test_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["influence", str(tmp_path)]) == 2
    assert "is no run folder" in words(capsys)
