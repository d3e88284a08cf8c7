"""All suspects on the page: in order, searchable, with the user's own columns, whatever text is in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hostile_text import HOSTILE
from tiny_rows import QUICK, rows

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv
from metaweight.report.page.document import render
from metaweight.report.page.headline import headline
from metaweight.report.page.samples import weight_views
from metaweight.report.page.study import Study, read_study
from metaweight.report.page.suspicion import Suspicion, suspicion_of

WRONG = tuple(range(2, 150, 5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table with a column of hostile text, a fifth of its labels wrong."""
    place = tmp_path_factory.mktemp("page")
    for part, count, seed, wrong in (("train", 150, 0, WRONG), ("meta", 60, 1, ())):
        table = [{**row, "note": HOSTILE[n % len(HOSTILE)]} for n, row in enumerate(rows(count, seed, wrong))]
        (place / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    command = ["train", "--task", "tabular", "--train", str(place / "train.jsonl"), "--label", "kind"]
    more = ["--meta", str(place / "meta.jsonl"), "--ignore", "note", "--lr", "0.02"]
    assert main([*command, *more, *QUICK, "--epochs", "20", "--out", str(place / "run")]) == 0
    return place / "run"


@pytest.fixture
def study(folder: Path) -> Study:
    return read_study(folder)


def suspected(study: Study) -> Suspicion:
    found = suspicion_of(study.runs[0])
    assert found is not None
    return found


def rows_of(page: str) -> dict[str, list[list[str]]]:
    kept = re.search(r'<script type="application/json" id="rows">(.*?)</script>', page, re.S)
    assert kept is not None
    data: dict[str, list[list[str]]] = json.loads(kept[1])
    return data


def test_every_row_is_there_the_most_suspect_first(study: Study, folder: Path) -> None:
    data = rows_of(render(study))
    named = [dict(zip(["suspect", *data["columns"]], row, strict=True)) for row in data["rows"]]
    weights = [float(row["mean_weight"]) for row in named]
    assert len(named) == 150
    assert weights == sorted(weights)
    own = {row["row"]: row for row in read_csv(folder / "rows.csv")}
    for row in named:
        assert row["x"] == own[row["row"]]["x"]
        assert row["given_label"] == own[row["row"]]["kind"]
    by_file = {row["row"]: row["given_label"] for row in read_csv(folder / "weights.csv")}
    assert by_file == {number: row["kind"] for number, row in own.items()}
    wrong = [int(row["row"]) - 1 in WRONG for row in named if row["suspect"]]
    assert len(wrong) > 15
    assert sum(wrong) > 0.8 * len(wrong)


def test_the_first_sentence_says_what_to_do(study: Study) -> None:
    suspicion = suspected(study)
    said = headline(study, weight_views(study)[0], suspicion)
    assert said[0] == f"{suspicion.suspects} of 150 training rows look wrong: look at these first, below."
    assert "was not tested" in said[1]
    assert not any("AUROC of" in sentence for sentence in said)  # which rows are wrong is not known


def test_counts_fit_together(study: Study) -> None:
    suspicion = suspected(study)
    classes = suspicion.classes
    assert classes is not None
    assert classes.matrix is not None
    assert suspicion.rows == sum(one.rows for one in classes.classes) == 150
    assert sum(one.suspects for one in classes.classes) == suspicion.suspects
    assert sum(map(sum, classes.matrix.counts)) == suspicion.suspects
    assert set(classes.matrix.names) == {"cat", "dog"}
    # a suspect without probes is one that the student calls something else
    assert [row[at] for at, row in enumerate(classes.matrix.counts)] == [0, 0]
    assert sum(count for _, _, count in classes.pairs) == suspicion.suspects
    assert suspicion.files == ("rows.csv", "weights.csv")


def test_plain_training_suspects_nobody(tmp_path: Path) -> None:
    out = tmp_path / "run"
    sizes = ["--meta-size", "20", "--valid-size", "20"]
    assert (
        main(["train", "--task", "tabular", "--teacher", "uniform", *sizes, *QUICK, "--out", str(out)]) == 0
    )
    assert suspicion_of(read_study(out).runs[0]) is None
    assert 'id="suspects"' not in render(read_study(out))


@pytest.mark.slow  # what is said of probes: test_belief
def test_with_probes_the_first_sentence_says_how_many_suspects_are_wrong(tmp_path: Path) -> None:
    out = tmp_path / "run"
    table = ["train", "--task", "tabular", "--noise", "uniform", "--probes", "0.3", "--meta-size", "120"]
    table += ["--epochs", "8"]
    assert main([*table, "--valid-size", "20", "--threads", "1", "--out", str(out)]) == 0
    found = suspected(read_study(out))
    assert found.belief is not None
    assert found.belief.precision is not None
    about = round(found.suspects * found.belief.precision.value)
    assert found.sentence.startswith(f"Of {found.suspects} suspects among 287 training rows about {about} (")
    assert "are wrong" in found.sentence
