"""`metaweight train --task text` on a user's own files: rows are named as the user finds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from slowly import slowly
from tiny_texts import QUICK, texts, write_texts

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv
from metaweight.training.run_folder import RunFolder

WRONG = (3, 10, 11, 40, 77)
TRAIN = ("train", "--task", "text", "--label", "kind", *QUICK)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


@pytest.mark.parametrize("ending", ["csv", *slowly("jsonl")])
def test_row_n_is_row_n_of_the_users_file(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = texts(90, 0, WRONG)
    rows[5]["text"] = " \u200b"
    train = write_texts(tmp_path / f"train.{ending}", rows)
    lines = train.read_text().splitlines()
    lines.insert(30, "")  # an editor counts the empty lines too
    train.write_text("\n".join(lines) + "\n")
    meta = write_texts(tmp_path / "meta.csv", texts(30, 1000))
    test = write_texts(tmp_path / "test.jsonl", texts(30, 2000))
    files = ["--train", str(train), "--meta", str(meta), "--test", str(test)]
    assert main([*TRAIN, *files, "--epochs", "15", "--lr", "0.02", "--out", str(tmp_path / "run")]) == 0
    kept = read_csv(tmp_path / "run" / "rows.csv")
    assert [row["text"] for row in kept] == [row["text"] for n, row in enumerate(rows) if n != 5]
    for row in kept:
        assert row["text"] in lines[int(row["row"]) - 1]
        assert row["file"] == str(train)
    bad = {rows[n]["text"] for n in WRONG}
    lowest = sorted(kept, key=lambda row: float(row["mean_weight"]))[:5]
    assert {row["text"] for row in lowest} == bad
    left = read_csv(tmp_path / "run" / "left_out.csv")
    assert [(row["row"], row["reason"]) for row in left] == [
        ("7" if ending == "csv" else "6", "no text in 'text'")
    ]
    assert [row["row"] for row in read_csv(tmp_path / "run" / "weights.csv")] == [row["row"] for row in kept]
    assert json.loads((tmp_path / "run" / "classes.json").read_text()) == ["fruit", "tool"]
    assert "apple" in json.loads((tmp_path / "run" / "vocabulary.json").read_text())
    figures = json.loads((tmp_path / "run" / "result.json").read_text())["figures"]
    assert figures["accuracy"] > 90
    assert figures["macro_f1"] > 90
    table = said(capsys).partition("┌")[2]
    assert 0 < table.index("test accuracy") < table.index("macro-F1 on the test rows")


def test_pairs_of_texts_in_pieces_by_a_transformer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for part, first, count in (("train", 0, 60), ("meta", 1000, 20)):
        rows = [
            {"id": str(n), "a": row["text"], "b": "is it?", "kind": row["kind"]}
            for n, row in enumerate(texts(count, first))
        ]
        files += [f"--{part}", str(write_texts(tmp_path / f"{part}.csv", rows))]
    model = ["--model", "text-transformer", "--model-options", "width=8", "feedforward=8", "layers=1"]
    options = ["--text", "a", "b", "--pieces", "bpe", "--vocab-size", "60", "--max-length", "12"]
    assert (
        main([*TRAIN, *files, *model, *options, "--teacher", "memory", "--out", str(tmp_path / "run")]) == 0
    )
    told = said(capsys)
    assert "'a' and 'b': 60 pieces have an id" in told
    assert "training texts are cut after 12 pieces" in told
    assert list(read_csv(tmp_path / "run" / "rows.csv")[0])[4:] == ["a", "b", "kind", "mean_weight"]
    assert (tmp_path / "run" / "vocabulary.model").is_file()
    assert RunFolder.open(tmp_path / "run").read_weights().flipped is None


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, ["--text", "txet"], "has no column 'txet'. Did you mean 'text'"),
        ({}, ["--pieces", "wrods"], "unknown pieces 'wrods'. Did you mean 'words'"),
        ({}, ["--model", "text-bg"], "unknown text model 'text-bg'. Did you mean 'text-bag'"),
        ({}, ["--model-options", "widht=3"], "Did you mean 'width'"),
        ({}, ["--vocab-size", "2"], "train.csv: vocab_size is more than the 3 special ids"),
        ({"meta": 'text,kind\n,fruit\n"a saw",tool\n'}, [], "meta.csv, line 2: the text is empty"),
        ({"meta": 'txt,kind\napple,fruit\n"a saw",tool\n'}, [], "meta.csv has no column 'text'"),
        ({"train": "text,kind\n,fruit\n,tool\n"}, [], "every training row is left out: no text in 'text'"),
        (
            {"train": "a,b,kind\n1,2,fruit\n3,4,tool\n"},
            [],
            "train.csv: which column holds the text? Say --text",
        ),
    ],
)
def test_a_mistake_is_said_and_leaves_nothing(
    change: dict[str, str],
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {"train": texts(40), "meta": texts(20, 1000)}
    words = []
    for part, rows in files.items():
        path = write_texts(tmp_path / f"{part}.csv", rows)
        if part in change:
            path.write_text(change[part])
        words += [f"--{part}", str(path)]
    assert main([*TRAIN, *words, *arguments, "--out", str(tmp_path / "run")]) == 2
    assert message in said(capsys)
    assert not (tmp_path / "run").exists()
