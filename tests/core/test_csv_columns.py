"""CSV by column has the bytes of CSV by row, and reads back."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaweight.core import csv_columns
from metaweight.core.csv_columns import listed, read_columns, write_by_column
from metaweight.core.csv_text import csv_text, number_as_cell, read_csv, write_csv

ANY = st.text(st.one_of(st.characters(), st.sampled_from('\r\n",\x00=\u202e\ufeff \ud800')), max_size=8)
CELL = st.one_of(ANY, ANY, st.none(), st.integers(), st.floats(), st.booleans(), st.binary(max_size=3))


def written(columns: dict[str, Any], order: Any = None) -> bytes:
    file = io.BytesIO()
    write_by_column(file, columns, order)
    return file.getvalue()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(CELL, ANY), max_size=5), st.randoms())
def test_any_cells_are_written_as_by_row(rows: list[tuple[Any, str]], random: Any) -> None:
    order = random.sample(range(len(rows)), random.randint(0, len(rows)))
    columns = {"a": [row[0] for row in rows], 'b,"c"': tuple(row[1] for row in rows)}
    assert written(columns) == csv_text(tuple(columns), rows).encode()
    assert written(columns, order) == csv_text(tuple(columns), [rows[at] for at in order]).encode()


def test_arrays_are_written_as_their_values_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_columns, "BLOCK", 3)
    numbers = np.array([0.1, 1e-7, math.nan, 123456789.0, -0.0, math.inf, 2.0], dtype=np.float32)
    texts = np.array(["", "a,b", 'a "b"', "c\r", "d\n", "é", "x"], dtype=object)
    columns = {"n": numbers, "t": texts, "i": np.arange(7) - 3, "p": pyarrow.array([*map(str, texts)])}
    rows = list(zip(map(number_as_cell, numbers.tolist()), texts, range(-3, 4), texts, strict=True))
    assert written(columns) == csv_text(tuple(columns), rows).encode()
    order = np.array([6, 1, 4, 2, 5])
    assert written(columns, order) == csv_text(tuple(columns), [rows[at] for at in order]).encode()
    assert listed(columns["p"], order) == listed(texts.tolist(), order) == texts[order].tolist()
    assert listed(columns["i"], order) == [3, -2, 1, -1, 2]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(ANY, ANY), min_size=1, max_size=5))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    write_csv(path, ("one", "other"), rows)
    found = read_columns(path)
    by_row = read_csv(path)
    assert {name: cells.to_pylist() for name, cells in found.items()} == {
        name: [row[name] for row in by_row] for name in ("one", "other")
    }


def test_a_row_longer_than_what_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_columns, "ROOM", 100)
    write_csv(tmp_path / "t.csv", ("a", "b"), [("x" * 1000, "y"), ("", "")] * 3)
    assert read_columns(tmp_path / "t.csv")["a"].to_pylist() == ["x" * 1000, ""] * 3


@pytest.mark.parametrize("content", [b"a,b\n1,2\n1,2,3\n", b"a,b\n1\n", b'a,b\n"1,2\n', b"a,b\n\xff,2\n"])
def test_damage_is_said_as_by_row(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)) as by_row:
        read_csv(path)
    with pytest.raises(ValueError, match=str(path)) as by_column:
        read_columns(path)
    assert str(by_column.value) == str(by_row.value)


@pytest.mark.parametrize("content", [b"", b"a,b\n"])
def test_without_a_row_there_is_no_column(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert read_columns(tmp_path / "t.csv") == {}
