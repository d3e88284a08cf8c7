"""Origins: where samples came from, through every selection and join."""

from __future__ import annotations

import pytest
import torch

from metaweight.data.origins import LeftOut, Origin, Origins


def test_an_origin_says_where_a_person_finds_the_sample() -> None:
    assert str(Origins.of("a.tsv", [7], unit="line")[0]) == "a.tsv, line 7"
    assert str(Origins.of("hf:mnist, split train", [3], names=["cat.png"])[0]) == (
        "hf:mnist, split train, row 3 (cat.png)"
    )
    assert str(Origins.of_files(["cats/1.png"])[0]) == "cats/1.png"
    assert Origins.of_files(["cats/1.png"])[0].cells == ("cats/1.png", "", "")


def test_selection_and_join_keep_every_origin() -> None:
    one = Origins.of("a.tsv", [1, 2, 4], unit="line")
    other = Origins.of("b.tsv", [5, 9], names=["x", "y"], unit="line")
    both = one.join(other).select(torch.tensor([4, 0, 0, 3]))
    assert list(both) == [
        Origin("b.tsv", 9, "y", "line"),
        Origin("a.tsv", 1, "", "line"),
        Origin("a.tsv", 1, "", "line"),
        Origin("b.tsv", 5, "x", "line"),
    ]
    again = other.join(one).join(Origins.of("b.tsv", [6], unit="line"))
    assert again.files == ("b.tsv", "a.tsv")
    assert [str(origin) for origin in again][-1] == "b.tsv, line 6"


def test_lines_and_rows_stay_those_of_their_files() -> None:
    mixed = Origins.of("a", [1], unit="line").join(Origins.of("b", [2])).join(Origins.of_files(["c.png"]))
    again = Origins.of("d", [3], unit="line").join(mixed.select([2, 0, 1]))
    assert list(map(str, again)) == ["d, line 3", "c.png", "a, line 1", "b, row 2"]
    assert str(again[3]) == "b, row 2"


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 samples have"):
        Origins(("a",), torch.zeros(2, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    one = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ValueError, match="in 1 files have 2 units"):
        Origins(("a",), one, one, unit=("row", "line"))


def test_what_was_left_out_is_listed_with_its_reason() -> None:
    first = LeftOut(Origins.of("a.tsv", [3], unit="line"), ("the source is empty",), ("\t vier",))
    second = LeftOut(Origins.of("b.tsv", [1], unit="line"), ("too long",), ("x",))
    assert list(LeftOut.none().join(first).join(second).rows()) == [
        ("a.tsv", "3", "", "the source is empty", "\t vier"),
        ("b.tsv", "1", "", "too long", "x"),
    ]
    with pytest.raises(ValueError, match="got 1, 2, 1"):
        LeftOut(Origins.of("a", [1]), ("a", "b"), ("c",))


def test_the_cells_of_all_are_those_of_each() -> None:
    mixed = Origins.of("a.csv", [2, 9], names=["x", ""]).join(Origins.of_files(["b/c.png"]))
    assert mixed.cells() == [origin.cells for origin in mixed]
