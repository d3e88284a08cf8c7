"""`metaweight train --task tokens` on BIO files: sentences are named by the line at which they begin."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from slowly import slowly
from tiny_texts import QUICK, Tagged, sentences, write_bio

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv

WRONG = (3, 10, 11, 40)
TRAIN = ("train", "--task", "tokens", *QUICK, "--model-options", "width=16")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def in_context(rows: Sequence[Tagged]) -> Iterator[str]:
    """Each token, marked in its sentence."""
    for row in rows:
        words = [word for word, _ in row]
        for place, word in enumerate(words):
            yield " ".join([*words[:place], f">>{word}<<", *words[place + 1 :]])


@pytest.mark.parametrize("unit", ["token", *slowly("sentence")])
def test_row_n_is_the_line_at_which_sentence_n_begins(unit: str, tmp_path: Path) -> None:
    rows = sentences(60, 0, WRONG)
    train = write_bio(tmp_path / "train.bio", rows)
    train.write_text(f"# by hand\n\n{train.read_text()}", encoding="utf-8")
    lines = train.read_text(encoding="utf-8").splitlines()
    meta = write_bio(tmp_path / "meta.bio", sentences(20, 1000))
    test = write_bio(tmp_path / "test.bio", sentences(20, 2000))
    files = ["--train", str(train), "--meta", str(meta), "--test", str(test), "--unit", unit]
    assert main([*TRAIN, *files, "--epochs", "8", "--out", str(tmp_path / "run")]) == 0
    kept = read_csv(tmp_path / "run" / "rows.csv")
    for row, own in zip(kept, rows, strict=True):
        assert row["tokens"] == " ".join(token for token, _ in own)
        assert row["labels"] == " ".join(label for _, label in own)
        first = int(row["row"]) - 1
        assert lines[first : first + len(own)] == ["\t".join(pair) for pair in own]
        assert not lines[first - 1]
    tokens = read_csv(tmp_path / "run" / "tokens.csv")
    assert [(row["token"], row["label"]) for row in tokens] == [pair for own in rows for pair in own]
    assert [int(row["place"]) for row in tokens[:8]] == [1, 2, 3, 4, 1, 2, 3, 4]
    assert main(["suspects", str(tmp_path / "run"), "--out", str(tmp_path / "s.csv")]) == 0
    listed = read_csv(tmp_path / "s_tokens.csv")
    assert sorted(listed, key=lambda row: (int(row["index"]), int(row["place"]))) == [
        {**row, "sentence": told} for row, told in zip(tokens, in_context(rows), strict=True)
    ]
    assert int(listed[0]["index"]) in WRONG
    assert listed[0]["suggested"] != listed[0]["label"]
    weights = {row["row"]: float(row["mean_weight"]) for row in kept}
    if unit == "sentence":
        lowest = sorted(kept, key=lambda row: float(row["mean_weight"]))[: len(WRONG)]
        assert {kept.index(row) for row in lowest} == set(WRONG)
        assert all(float(row["weight"]) == weights[row["row"]] for row in tokens)
    else:
        of_first = [float(row["weight"]) for row in tokens if row["index"] == "0"]
        assert len(set(of_first)) == len(of_first)
        assert sum(of_first) / len(of_first) == pytest.approx(weights["3"], rel=1e-3)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["figures"]["f1"] > 90
    assert result["figures"]["accuracy"] > 90
    assert result["details"]["teacher"] == ("memory" if unit == "token" else "surface")


def test_the_label_column_a_mark_column_and_long_sentences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["#checked\ttoken\tright\tgiven"]
    for number, row in enumerate(sentences(50)):
        mark = "yes" if number % 3 == 0 else "-"
        lines += [f"{mark}\t{token}\tX\t{label}" for token, label in row]
        lines.append("")
    train = tmp_path / "all.tsv"
    train.write_text("\n".join(lines), encoding="utf-8")
    options = ["--label", "given", "--meta-column", "checked", "--max-length", "4"]
    assert main([*TRAIN, "--train", str(train), *options, "--out", str(tmp_path / "run")]) == 0
    assert "33 sentences are cut after 4 tokens" in said(capsys)
    kept = read_csv(tmp_path / "run" / "rows.csv")
    assert len(kept) == 33
    assert all(len(row["token"].split()) == 4 for row in kept)
    assert json.loads((tmp_path / "run" / "classes.json").read_text()) == ["O", "B-PER"]


def test_a_column_by_its_number_leaves_the_tokens_first(tmp_path: Path) -> None:
    files = []
    for part, first in (("train", 0), ("meta", 1000)):
        path = tmp_path / f"{part}.conll"
        rows = ("".join(f"{token} X {label} Y\n" for token, label in row) for row in sentences(30, first))
        path.write_text("\n".join(rows), encoding="utf-8")
        files += [f"--{part}", str(path)]
    assert main([*TRAIN, *files, "--label", "3", "--out", str(tmp_path / "run")]) == 0
    first = read_csv(tmp_path / "run" / "rows.csv")[0]
    assert (first["tokens"], first["3"]) == ("Ann eats apple0 .", "B-PER O O O")


def test_probes_are_planted_among_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_bio(tmp_path / "train.bio", sentences(80))
    meta = write_bio(tmp_path / "meta.bio", sentences(60, 1000))
    files = ["--train", str(train), "--meta", str(meta), "--probes", "0.3"]
    assert main([*TRAIN, *files, "--out", str(tmp_path / "run")]) == 0
    assert "24 of the 60 trusted rows are planted" in said(capsys)
    assert len(read_csv(tmp_path / "run" / "rows.csv")) == 80
    assert len({row["index"] for row in read_csv(tmp_path / "run" / "tokens.csv")}) == 80


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"train": "Ann\tB-PER\neats\n"}, [], "train.bio, line 2: 1 field, expected 2"),
        ({"meta": "Ann\tB-PRE\n"}, [], "line 1: token 1 of this trusted sentence has the label 'B-PRE'"),
        ({"meta": "Ann\tb-per\n"}, [], "mend it, or take the sentence out. Did you mean 'B-PER'?"),
        ({"train": "Ann\tO\n"}, [], "train.bio: every token has the label 'O'"),
        ({}, ["--unit", "word"], "a unit of text is sentence or token, got 'word'"),
        ({}, ["--target", "classes"], "target is what a row's one label is"),
        ({}, ["--model", "tagger-windo"], "Did you mean 'tagger-window'"),
        ({}, ["--label", "3"], "has no column '3'"),
        ({}, ["--noise", "flip"], "noise 'flip' is none of sentences of labelled tokens"),
    ],
)
def test_a_mistake_is_said_and_leaves_nothing(
    change: dict[str, str],
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = []
    for part, first in (("train", 0), ("meta", 1000)):
        path = write_bio(tmp_path / f"{part}.bio", sentences(30, first))
        if part in change:
            path.write_text(change[part])
        words += [f"--{part}", str(path)]
    assert main([*TRAIN, *words, *arguments, "--out", str(tmp_path / "run")]) == 2
    assert message in said(capsys)
    assert not (tmp_path / "run").exists()
