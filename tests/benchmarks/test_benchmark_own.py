"""The benchmark of a user's own data: its wrong targets, its reference, and a run of a moment."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.own.run import main
from benchmarks.own.sets import SETS, Whole, case
from benchmarks.own.tokens import HEADER, each_token
from benchmarks.own.trial import reference
from metaweight.core.csv_text import read_csv


def test_wrong_numbers_are_those_of_other_rows_that_were_hit() -> None:
    whole = SETS["diabetes"][1](Path())
    own = case("diabetes", whole, 0, rows=200, rate=0.25)
    assert own.wrong.mean() == pytest.approx(0.25, abs=0.08)
    given, right = own.given[own.train], own.right[own.train]
    assert sorted(given) == sorted(right)
    held = np.concatenate([own.meta, own.test])
    assert np.array_equal(own.given[held], own.right[held])


def test_wrong_labels_of_the_first_class_leave_all_others_alone() -> None:
    right = np.repeat(["b", "a", "c"], 200)
    own = case(
        "spambase", Whole(pd.DataFrame({"x": right}), right), 0, rows=400, rate=0.5, wrong="first-class"
    )
    first = own.right[own.train] == "a"
    assert own.wrong[first].mean() == pytest.approx(0.5, abs=0.15)
    assert not own.wrong[~first].any()
    assert set(own.given[own.train][own.wrong]) == {"b", "c"}


def test_the_forest_finds_the_rows_whose_number_is_far_off() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=400)
    own = case("concrete", Whole(pd.DataFrame({"x": x}), 3 * x), 0, rows=150, rate=0.2)
    found = reference(own, 0)
    assert found.arm == "forest"
    assert found.auroc is not None
    assert found.auroc > 0.8  # a shuffled number may come to lie near the right one


@pytest.mark.slow
def test_a_run_shows_plain_training_teacher_and_forest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "run"
    words = "--data diabetes --seeds 0 --rows 60 --rate 0.2 --probes 0.2 --teachers auto knn"
    assert main([*words.split(), "--out", str(place)]) == 0
    rows = read_csv(place / "runs.csv")
    assert [row["arm"] for row in rows] == ["uniform", "auto", "knn", "forest"]
    assert all(row["accuracy"] == "" for row in rows)
    assert [row["r2"] != "" and row["rmse"] != "" for row in rows] == [True, True, True, False]
    assert [row["auroc"] != "" for row in rows] == [False, True, True, True]
    table = (place / "table.md").read_text().splitlines()
    assert "| plain, R² | teacher, R² |" in table[0]
    assert [line.split(" | ")[4] for line in table[2:4]] == ["auto", "knn"]
    assert f"{float(rows[0]['r2']):.3f} ± 0.000" in table[2]
    assert json.loads((place / "manifest.json").read_text())["config"]["rate"] == 0.2
    capsys.readouterr()
    assert main(["--data", "diabetis"]) == 2
    assert "unknown set 'diabetis'. Did you mean 'diabetes'?" in capsys.readouterr().err


def test_sentences_keep_the_wrong_labels_that_they_bring(tmp_path: Path) -> None:
    blocks = []
    for number in range(240):
        part = {38: "valid", 39: "test"}.get(number % 40, "train")
        noisy = ("O" if number % 3 == 0 else "B", "O") if part == "train" else ("", "")
        blocks.append(f"{part}\tw{number}\tB\t{noisy[0]}\n{part}\tis\tO\t{noisy[1]}\n")
    place = tmp_path / "tokens" / "hausa_ner"
    place.mkdir(parents=True)
    (place / "hausa_ner.tsv.xz").write_bytes(lzma.compress((HEADER + "\n".join(blocks)).encode()))
    own = case("hausa_ner", SETS["hausa_ner"][1](tmp_path), 0, rows=2000, rate=0.3)
    assert (len(own.train), len(own.meta), len(own.test)) == (28, 200, 6)
    first = [own.rows["tokens"][row][0] for row in own.train]
    assert own.wrong.tolist() == [flag for word in first for flag in (int(word[1:]) % 3 == 0, False)]
    held = np.concatenate([own.meta, own.test])
    assert (own.given[own.test] == own.right[own.test]).all()
    assert set(own.train).isdisjoint(held)


@pytest.mark.slow
def test_a_run_on_sentences_is_of_tokens(tmp_path: Path) -> None:
    own = case("cldr-dates", SETS["cldr-dates"][1](tmp_path), 0, rows=300, rate=0.3)
    assert own.wrong.mean() == pytest.approx(0.3, abs=0.04)
    assert len(own.wrong) == len(each_token(own.rows["tokens"].to_numpy()[own.train]))
    words = "--data cldr-dates --seeds 0 --rows 90 --probes 0.2"
    assert main([*words.split(), "--out", str(tmp_path / "run")]) == 0
    plain, auto, cleanlab = read_csv(tmp_path / "run" / "runs.csv")
    assert (plain["arm"], auto["arm"], cleanlab["arm"]) == ("uniform", "auto", "cleanlab")
    assert float(auto["f1"]) > 0
    assert float(cleanlab["auroc"]) > 0.6
    table = (tmp_path / "run" / "table.md").read_text()
    assert "| plain, F1 % | auto, F1 % |" in table
    assert "wrong labels and AUROC of tokens" in table
