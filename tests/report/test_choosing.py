"""Samples to be checked: as even as they can be, never all of a class, and read again as they were."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from hostile_text import HOSTILE

from metaweight.core.csv_text import read_csv
from metaweight.data.origins import Origins
from metaweight.data.rows import read_rows
from metaweight.report.choosing import Choice, Sample, checking_page, choose
from metaweight.report.choosing.drawing import draw, said_of_each

GROUPS = torch.tensor([0] * 300 + [1] * 40 + [2] * 5 + [3])


def drawn(groups: torch.Tensor, size: int | None, seed: int = 0) -> list[int]:
    picked = draw(groups, int(groups.max()) + 1, size, "data.csv", seed)
    return torch.bincount(groups[picked], minlength=int(groups.max()) + 1).tolist()


@pytest.mark.parametrize(
    ("size", "counts"), [(None, [78, 20, 2, 0]), (20, [8, 8, 4, 0]), (342, [299, 39, 4, 0]), (1, None)]
)
def test_a_class_is_never_drawn_whole(size: int | None, counts: list[int] | None) -> None:
    found = drawn(GROUPS, size)
    assert sum(found) == (100 if size is None else size)
    assert counts is None or found == counts


def test_a_seed_decides_which_rows_and_many_classes_have_ten_each() -> None:
    classes = torch.arange(1000) % 20
    assert drawn(classes, None) == [10] * 20
    first, again, other = (draw(classes, 20, None, "d", seed).tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert first == sorted(first)
    assert drawn(torch.arange(40) % 2, None) == [10, 10]  # half of what there is


def test_what_was_drawn_of_each_class_is_said() -> None:
    picked = draw(GROUPS, 4, 20, "d", 0)
    assert said_of_each(GROUPS, picked, "abcd") == (
        "8 rows of each class, but 4 of the 5 of 'c', 0 of the 1 of 'd'"
    )
    two = torch.arange(10) % 2
    assert said_of_each(two, torch.tensor([0, 1, 2]), "ab") == "1 or 2 rows of each class"


def test_cells_of_any_type_come_back_as_they_were(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "whole": range(12),
            "real": [number / 4 for number in range(12)],
            "empty": pd.array([None, *range(11)], dtype="Int64"),
            "yes": [True, False] * 6,
            "list": [[f"{number}", "é"] for number in range(12)],
            "tags": [["a", "b"], ["c"]] * 6,
        }
    )
    frame.to_parquet(tmp_path / "data.parquet")
    choice = Choice(label="tags", size=10)
    sample = choose(str(tmp_path / "data.parquet"), "tabular", choice)
    (tmp_path / "trusted.csv").write_text(sample.csv(), encoding="utf-8")
    for row in read_csv(tmp_path / "trusted.csv"):
        given = frame.iloc[int(row["row"]) - 1]
        assert row["whole"] == str(given["whole"])
        assert row["real"] == str(given["real"])
        assert row["empty"] == ("" if given["whole"] == 0 else str(given["whole"] - 1))
        assert row["yes"] == str(given["yes"])
        assert json.loads(row["list"]) == given["list"]
        assert row["tags"] == ";".join(given["tags"])
    assert len(read_rows(tmp_path / "trusted.csv")) == 10


def kept(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    data: dict[str, object] = json.loads(found[1])
    return data


@pytest.mark.parametrize("label", ["y", "file", "row", "name"])
def test_the_page_knows_which_cell_is_the_label(label: str) -> None:
    cells = tuple((text, "ab"[number % 2]) for number, text in enumerate(HOSTILE))
    origins = Origins.of("data.csv", range(2, len(cells) + 2), unit="line")
    sample = Sample("data.csv", ("x", label), cells, label, "class", ("a", "b"), origins)
    data = kept(checking_page(sample, "trusted.csv"))
    assert data["header"] == list(sample.header)
    assert data["rows"] == [list(row) for row in sample.rows]
    place = data["label"]
    assert isinstance(place, int)
    assert {row[place] for row in sample.rows} == {"a", "b"}
    assert len(set(sample.header)) == 5


def test_a_text_is_shown_whole_and_a_page_of_many_classes_stays_small() -> None:
    text = "word " * 500 + "the end"
    names = tuple(f"class {number}" for number in range(1000))
    sample = Sample("d", ("text", "y"), tuple((text, name) for name in names), "y", "class", names)
    page = checking_page(sample, "trusted.csv")
    assert page.count("the end</dd>") == 1000
    assert "<option" not in page
    assert len(page) < 7_000_000


def test_of_several_labels_the_rare_one_is_drawn_too(tmp_path: Path) -> None:
    labels = [
        "rare;x" if number in (7, 70, 170, 270) else ("x;z", "z;w")[number % 2] for number in range(400)
    ]
    table = tmp_path / "tags.csv"
    table.write_text("a,tags\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(labels)), encoding="utf-8")
    for seed in range(3):
        sample = choose(str(table), "tabular", Choice(size=20, seed=seed, label="tags"))
        given = [row[-1] for row in sample.rows]
        assert given.count("rare;x") == 3  # the fourth stays to train on
        assert min(given.count("x;z"), given.count("z;w")) >= 8
