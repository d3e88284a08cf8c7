"""Trusted rows that say where they come from are taken out of the training rows, and out of no others."""

from __future__ import annotations

import pandas as pd
import pytest

from metaweight.data.origins import Origins
from metaweight.data.rows import Rows
from metaweight.data.rows.parts import Parts, parts_of

LINES = (2, 4, 5, 9, 10)


def given(file: str, lines: tuple[int, ...], /, **columns: list[object]) -> Rows:
    return Rows(pd.DataFrame(columns), Origins.of(file, lines, unit="line"), file)


def training(**more: list[object]) -> Rows:
    return given("data.csv", LINES, x=list("abcde"), y=["p", "q", "p", "", "q"], **more)


def test_rows_are_taken_out_by_line_whatever_lines_are_empty() -> None:
    trusted = given(
        "t.csv", (2, 3), file=["elsewhere/data.csv"] * 2, row=["4", 10.0], x=["b", "e"], y=["p", "q"]
    )
    parts = parts_of({"train": training(), "meta": trusted}, label="y")
    assert list(parts.train.frame["x"]) == ["a", "c"]
    assert parts.places is not None
    assert parts.places.tolist() == [0, 2]
    left = {
        origin.row: reason
        for origin, reason in zip(parts.left_out.origins, parts.left_out.reasons, strict=True)
    }
    assert left == {
        4: "it is trusted: t.csv, line 2",
        10: "it is trusted: t.csv, line 3",
        9: "no label in 'y'",
    }


@pytest.mark.parametrize("own", [("file",), ("row",), ("file", "row"), ("file", "from_file")])
def test_columns_of_the_owner_with_such_names_change_nothing(own: tuple[str, ...]) -> None:
    more = {name: ["data.csv"] * 5 if "file" in name else ["2"] * 5 for name in own}
    names = {"file": "file", "row": "row"}
    for name in own:
        names = {place: f"from_{called}" if called == name else called for place, called in names.items()}
    there = {name: cells[:1] for name, cells in more.items()}
    places = {names["file"]: ["data.csv"], names["row"]: ["5"]}
    trusted = given("t.csv", (2,), **places, x=["c"], y=["p"], **there)
    parts = parts_of({"train": training(**more), "meta": trusted}, label="y")
    assert list(parts.train.frame["x"]) == ["a", "b", "e"]
    assert not [note for note in parts.notes if "choose them anew" in note]


def stale(row: str, x: str) -> Parts:
    trusted = given("t.csv", (2,), file=["data.csv"], row=[row], x=[x], y=["q"])
    return parts_of({"train": training(), "meta": trusted}, label="y")


def test_a_file_that_was_changed_since_is_said() -> None:
    assert not [note for note in stale("2", "a").notes if "anew" in note]
    for row, x in (("2", "b"), ("3", "a"), ("99", "a")):
        assert any(
            note.startswith("1 rows of t.csv are not what data.csv has") for note in stale(row, x).notes
        )
    foreign = given("t.csv", (2,), file=["other.csv"], row=["2"], x=["a"], y=["q"])
    parts = parts_of({"train": training(), "meta": foreign}, label="y")
    assert len(parts.train) == 4
    assert parts.notes[0].startswith("t.csv names rows of other.csv and none of data.csv")
