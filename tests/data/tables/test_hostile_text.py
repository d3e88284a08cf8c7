"""What csv, pandas, json and pyarrow write of hostile text is read back as it was, at its line."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metaweight.data.tables import read_table

NASTY = "\"',;|\t\n\r\x00 =+-@\\ab0\u0085\u2028\u200b\u202e\ufeff\u00e4\u3042\U0001f600\U000f0000"
CELLS = st.text(alphabet=st.one_of(st.sampled_from(NASTY), st.characters(codec="utf-8")), max_size=12)
ROWS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6)
COLUMNS = ("source", "target")
Rows = list[tuple[str, str]]


def by_csv(rows: Rows, mark: str = ",", end: str = "\r\n", quoting: int = csv.QUOTE_MINIMAL) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=mark, lineterminator=end, quoting=quoting).writerows([COLUMNS, *rows])
    return text.getvalue()


def by_pandas(rows: Rows, mark: str) -> str:
    return str(pandas.DataFrame(rows, columns=list(COLUMNS)).to_csv(sep=mark, index=False))


def by_json(rows: Rows, *, escaped: bool) -> str:
    return "".join(
        json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=escaped) + "\n" for row in rows
    )


WRITERS: dict[str, tuple[str, Callable[[Rows], str]]] = {
    "csv": (".csv", by_csv),
    "csv, newline alone": (".csv", lambda rows: by_csv(rows, end="\n")),
    "csv, all quoted": (".csv", lambda rows: by_csv(rows, quoting=csv.QUOTE_ALL)),
    "semicolons": (".csv", lambda rows: by_csv(rows, ";")),
    "bars": (".csv", lambda rows: by_csv(rows, "|", "\n")),
    "tabs in a csv": (".csv", lambda rows: by_csv(rows, "\t")),
    "tabs, all quoted": (".tsv", lambda rows: by_csv(rows, "\t", "\n", csv.QUOTE_ALL)),
    "pandas, commas": (".csv", lambda rows: by_pandas(rows, ",")),
    "pandas, tabs": (".tsv", lambda rows: by_pandas(rows, "\t")),
    "json": (".jsonl", lambda rows: by_json(rows, escaped=True)),
    "json, not escaped": (".jsonl", lambda rows: by_json(rows, escaped=False)),
}


def read_back(content: bytes, ending: str) -> tuple[Rows, list[int]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        path.write_bytes(content)
        table = read_table(path)
        rows = list(zip(table.texts("source"), table.texts("target"), strict=True))
        return rows, table.origins.row.tolist()


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=20, deadline=None)
@given(rows=ROWS)
@example(rows=[("", "")])
@example(rows=[("a\r", "b"), ("\r\n", '"'), ("\n", "\t")])
@example(rows=[('"', '""'), ('"a"', 'a"b"'), ("\x00", "=1+1")])
@example(rows=[("a\tb", "c"), ("d", "e")])
@example(rows=[("x" * 100_000, "y")])
def test_text_is_read_back_as_it_was_written(writer: str, rows: Rows) -> None:
    ending, write = WRITERS[writer]
    if writer.startswith("pandas") or writer.endswith(("alone", "bars")):
        # these leave a return unquoted, and at the end of a line nobody can tell whose it is
        rows = [(source, target.rstrip("\r")) for source, target in rows]
    if ending == ".tsv":
        rows = [('he said "one"', "x"), *rows]  # else lines that begin and end quotations may look the same
    text = write(rows)
    read, lines = read_back(text.encode(), ending)
    assert read == rows
    counted = [write(rows[:number]).count("\n") + 1 for number in range(len(rows))]
    assert lines == (counted if ending != ".jsonl" else list(range(1, len(rows) + 1)))


@settings(max_examples=20, deadline=None)
@given(rows=ROWS)
def test_parquet_gives_what_pandas_wrote(rows: Rows) -> None:
    content = io.BytesIO()
    pandas.DataFrame(rows, columns=list(COLUMNS)).to_parquet(content)
    assert read_back(content.getvalue(), ".parquet") == (rows, list(range(1, len(rows) + 1)))


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "utf-32"])
@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(
        st.tuples(*[CELLS.map(lambda text: "".join(c for c in text if c not in '"\t\n'))] * 2), min_size=1
    )
)
def test_tabs_without_quotes_keep_every_other_character(codec: str, rows: Rows) -> None:
    rows = [(source.rstrip("\r"), target.rstrip("\r")) for source, target in rows]
    text = "".join("\t".join(row) + "\n" for row in [COLUMNS, *rows])
    assert read_back(text.encode(codec), ".tsv") == (rows, list(range(2, len(rows) + 2)))
