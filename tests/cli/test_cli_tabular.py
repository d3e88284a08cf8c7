"""`metaweight train --task tabular` on a user's own files: rows are named as the user finds them."""

from __future__ import annotations

from pathlib import Path

import pytest
from slowly import slowly
from tiny_rows import QUICK, rows, write

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv
from metaweight.training.run_folder import RunFolder

WRONG = (3, 10, 11, 40, 77, 101, 140)
TRAIN = ("train", "--task", "tabular", *QUICK)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


@pytest.mark.parametrize("ending", ["csv", "parquet", *slowly("tsv", "jsonl")])
def test_row_n_is_row_n_of_the_users_file(ending: str, tmp_path: Path) -> None:
    table = rows(150, 0, WRONG)
    train = write(tmp_path / f"train.{ending}", table)
    if ending in ("csv", "tsv"):  # an editor counts the empty lines too
        head, *lines = train.read_text().splitlines()
        train.write_text("\n".join(["", head, "", *lines[:50], "", *lines[50:]]) + "\n")
    meta = write(tmp_path / "meta.csv", rows(40, 1))
    out = tmp_path / "run"
    arguments = ["--train", str(train), "--label", "kind", "--meta", str(meta), "--out", str(out)]
    assert main([*TRAIN, *arguments]) == 0
    lines = ["", *train.read_text().splitlines()] if ending != "parquet" else []
    kept = read_csv(out / "rows.csv")
    assert len(kept) == len(table)
    for row, own in zip(kept, table, strict=True):
        assert row["file"] == str(train)
        assert {name: row[name] for name in own} == own
        if lines:
            assert own["x"] in lines[int(row["row"])]
            assert own["y"] in lines[int(row["row"])]
        else:
            assert table[int(row["row"]) - 1] == own
    assert [row["row"] for row in read_csv(out / "weights.csv")] == [row["row"] for row in kept]


def test_rows_of_a_column_that_marks_them_are_trusted_and_not_weighed(tmp_path: Path) -> None:
    table = [{**row, "checked": "yes" if n % 4 == 0 else ""} for n, row in enumerate(rows(160, 0))]
    train, out = write(tmp_path / "all.csv", table), tmp_path / "run"
    arguments = ["--train", str(train), "--label", "kind", "--meta-column", "checked", "--out", str(out)]
    assert main([*TRAIN, *arguments]) == 0
    weighed = [int(row["row"]) for row in read_csv(out / "weights.csv")]
    assert weighed == [n + 2 for n in range(160) if n % 4]
    assert "checked" not in read_csv(out / "rows.csv")[0]


def test_a_row_without_a_label_is_left_out_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = rows(60, 0)
    table[7]["kind"] = ""
    train, out = write(tmp_path / "train.csv", table), tmp_path / "run"
    meta = write(tmp_path / "meta.csv", rows(40, 1))
    assert (
        main([*TRAIN, "--train", str(train), "--label", "kind", "--meta", str(meta), "--out", str(out)]) == 0
    )
    left = read_csv(out / "left_out.csv")
    assert [(row["row"], row["reason"]) for row in left] == [("9", "no label in 'kind'")]
    assert "1 training rows are left out: no label in 'kind'" in said(capsys)
    assert len(read_csv(out / "weights.csv")) == 59


def test_what_is_not_known_is_not_said_to_be_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, meta = write(tmp_path / "train.csv", rows(60, 0)), write(tmp_path / "meta.csv", rows(40, 1))
    out = tmp_path / "run"
    assert (
        main([*TRAIN, "--train", str(train), "--label", "kind", "--meta", str(meta), "--out", str(out)]) == 0
    )
    assert "wrong labels among the training rows │ not known" in said(capsys)
    assert RunFolder.open(out).read_weights().flipped is None


def test_numbers_are_learnt_and_told_in_the_users_unit(tmp_path: Path) -> None:
    made = {}
    for part, count, seed in (("train", 120, 0), ("meta", 40, 1), ("test", 60, 2)):
        table = [{**row, "kind": f"{1000 + 50 * float(row['x']):.2f}"} for row in rows(count, seed)]
        made[part] = write(tmp_path / f"{part}.csv", table)
    out = tmp_path / "run"
    files = [word for part, path in made.items() for word in (f"--{part}", str(path))]
    assert main([*TRAIN, *files, "--label", "kind", "--epochs", "10", "--out", str(out)]) == 0
    samples = RunFolder.open(out).read_weights()
    assert samples.given is not None
    assert samples.said is not None
    assert float(samples.given.min()) > 700
    assert float((samples.said - samples.given).abs().mean()) < 50
    assert not (out / "classes.json").exists()


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, ["--label", "knid"], "has no column 'knid'. Did you mean 'kind'"),
        ({}, ["--label", "x", "--target", "classes"], "train.csv: no two rows share a label in 'x'"),
        ({}, ["--label", "kind", "--meta", "mete.csv"], "there is no such file. Did you mean 'meta.csv'"),
        ({}, ["--label", "kind", "--target", "number"], "train.csv, line 2: the target is"),
        ({}, ["--label", "kind", "--target", "numbr"], "unknown target 'numbr'. Did you mean 'number'"),
        ({}, [], "which column holds the labels? Say --label COLUMN"),
        ({}, ["--label", "kind", "--data", "wine"], "data names a data set, train your own data"),
        ({}, ["--label", "kind", "--ignore", "x", "y", "colour"], "there is no column to learn from"),
        ({"train": "x,kind\n"}, ["--label", "kind"], "train.csv holds a header and no row"),
        ({"train": ""}, ["--label", "kind"], "train.csv is empty"),
        ({"train": "x,kind\n1,a\n2,a\n"}, ["--label", "kind"], "train.csv: every row has the label 'a'"),
        ({"meta": "x,y,colour\n1,2,red\n"}, ["--label", "kind"], "meta.csv has no column 'kind'"),
        (
            {"meta": "x,y,colour,kind\n1,2,red,cow\n"},
            ["--label", "kind"],
            "meta.csv, line 2: this trusted row has the label 'cow'",
        ),
        (
            {"meta": "x,y,colour,kind\n1,2,red,\n"},
            ["--label", "kind"],
            "meta.csv, line 2: this trusted row has no label",
        ),
        ({"meta": "x,y,colour,kind\n1,2,red,cat\n"}, ["--label", "kind"], "no trusted row is of class 'dog'"),
        (
            {"test": "x,y,colour,kind\n1,2,red,cow\n"},
            ["--label", "kind", "--test", "test.csv"],
            "test.csv, line 2: this test row has the label 'cow'",
        ),
        (
            {"meta": "x,y,colour,kind\none,2,red,cat\n1,2,red,dog\n"},
            ["--label", "kind"],
            "held numbers when the model was fitted, and now holds 'one'",
        ),
        (
            {},
            ["--label", "kind", "--meta-column", "colour"],
            "meta and meta_column both name the trusted rows",
        ),
    ],
)
def test_a_mistake_is_said_and_leaves_nothing(
    change: dict[str, str],
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "train.csv", rows(60, 0))
    write(tmp_path / "meta.csv", rows(40, 1))
    for part, text in change.items():
        (tmp_path / f"{part}.csv").write_text(text)
    given = [] if "--meta" in arguments else ["--meta", "meta.csv"]
    assert main([*TRAIN, "--train", "train.csv", *given, *arguments, "--out", "run"]) == 2
    assert message in said(capsys)
    assert not (tmp_path / "run").exists()


def test_without_trusted_rows_it_is_said_how_many_and_how(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write(tmp_path / "train.csv", rows(400, 0))
    out = tmp_path / "run"
    command = [*TRAIN, "--train", str(train), "--label", "kind", "--out", str(out)]
    assert main(command) == 2
    text = said(capsys)
    assert "needs trusted rows, 100 or so" in text
    assert "metaweight choose-trusted" in text
    assert not out.exists()
    assert main([*command, "--meta-from-train"]) == 0
    assert "which nobody has checked: meta_from_train" in said(capsys)
    assert RunFolder.open(out).manifest()["config"]["meta_from_train"] is True
