"""CSV that is written reads back, whatever text it holds."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaweight.core.csv_text import csv_rows, csv_text, read_csv, write_csv

TEXT = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from('\r\n",\x00=\u202e\ufeff '))
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), max_size=5))
def test_any_text_comes_back(rows: list[tuple[str, str]]) -> None:
    read = list(csv_rows(csv_text(("one", "other"), rows), "here"))
    assert [(row["one"], row["other"]) for row in read] == rows


def test_a_file_ends_its_rows_in_newlines_alone_and_quotes_what_needs_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", ("a", "b"), [("plain", 1.5), ("a\rb", ""), ('"', "x" * 200_000)])
    data = (tmp_path / "t.csv").read_bytes()
    assert data.startswith(b'a,b\nplain,1.5\n"a\rb",\n""""')
    assert read_csv(tmp_path / "t.csv")[2]["b"] == "x" * 200_000
    assert pandas.read_csv(tmp_path / "t.csv", keep_default_na=False)["a"].tolist() == ["plain", "a\rb", '"']


def test_half_a_surrogate_pair_becomes_the_sign_for_a_lost_character() -> None:
    assert csv_text(("a",), [("x\ud800y",)]) == "a\nx\ufffdy\n"


def test_a_row_of_another_width_is_named_with_its_line() -> None:
    with pytest.raises(ValueError, match=r"t\.csv, line 3: 3 fields, the header has 2"):
        list(csv_rows("a,b\n1,2\n1,2,3\n", "t.csv"))
    with pytest.raises(ValueError, match=r"t\.csv, line 2"):
        list(csv_rows('a,b\n"1,2\n', "t.csv"))


def test_the_limit_of_a_field_is_put_back() -> None:
    before = csv.field_size_limit()
    list(csv_rows(csv_text(("a",), [("x" * 300_000,)]), "here"))
    assert csv.field_size_limit() == before
