"""The benchmark of probes: its tables, its wrong labels, and a run of a moment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from real_data import DATA, needs

from benchmarks.belief.run import main
from benchmarks.belief.tables import KINDS, Labelled, read, spoilt
from metaweight.core.csv_text import read_csv


@pytest.fixture(scope="module")
def cancer() -> Labelled:
    return read("cancer", Path())


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_labels_are_as_many_as_the_kind_says(kind: str, cancer: Labelled) -> None:
    given = spoilt(kind, cancer, np.random.default_rng(0))
    wrong = given != cancer.right
    hit = cancer.right == 0 if kind == "one-class" else np.ones(len(given), dtype=bool)
    assert wrong[hit].mean() == pytest.approx(KINDS[kind], abs=0.08)
    assert not wrong[~hit].any()
    assert set(given) == {0, 1}
    assert np.array_equal(given, spoilt(kind, cancer, np.random.default_rng(0)))


def test_a_run_holds_promises_against_the_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "run"
    words = "--data cancer --kinds next --teachers knn --seeds 0 1 --rows 200 --epochs 4 --probes 0.3"
    assert main([*words.split(), "--out", str(place)]) == 0
    rows = read_csv(place / "runs.csv")
    assert [(row["data"], row["kind"], row["teacher"], row["seed"]) for row in rows] == [
        ("cancer", "next", "knn", "0"),
        ("cancer", "next", "knn", "1"),
    ]
    for row in rows:
        assert int(row["probes"]) == 60
        assert 0.2 < float(row["wrong"]) < 0.4
        if row["precision"]:
            assert 0 <= float(row["precision_low"]) <= float(row["told_precision"]) <= 1
    table = (place / "table.md").read_text()
    assert table.startswith("| of | fits | a cut-off was given |")
    assert "| all | 2 |" in table
    assert json.loads((place / "manifest.json").read_text())["config"]["probes"] == 0.3
    assert main(["--teachers", "kn"]) == 2
    assert "unknown teacher 'kn'. Did you mean 'knn'?" in capsys.readouterr().err


@needs("tabular/defects_derby/defects_derby.csv.xz")
@pytest.mark.data
def test_tables_with_wrong_labels_of_their_own() -> None:
    table = read("defects_derby", DATA)
    assert table.given is not None
    assert len(table.rows) == 3163
    assert (table.given != table.right).mean() == pytest.approx(0.274, abs=0.001)
    assert not {"label", "noisy", "split"} & set(table.rows)
