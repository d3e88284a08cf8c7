"""Large plain tables read in one sweep say what the careful reader says, and others are left to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from metaweight.data.tables import plain, read_table
from metaweight.data.tables.plain import read_plain


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "LARGE", 0)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_it_reads_what_the_careful_reader_reads(ending: str, end: str, tmp_path: Path) -> None:
    import gzip

    between = "\t" if ".tsv" in ending else ","
    lines = [
        between.join(row)
        for row in (("a", "b c", "é"), ("1", "", " x "), ("007", "NA", "1.50"), ("-", "ü", "nan"))
    ]
    text = end.join(lines) + end
    path = tmp_path / f"t{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    swept, careful = read_plain(path), read_table(path, headed=True)
    assert swept is not None
    assert swept.columns == careful.columns
    assert [list(cells) for cells in swept.cells] == [list(cells) for cells in careful.cells]
    assert [str(one) for one in swept.origins] == [str(one) for one in careful.origins]


def test_a_semicolon_is_found_and_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,5;2\n3,5;4\n")
    swept, careful = read_plain(path), read_table(path, headed=True)
    assert swept is not None
    assert list(swept.cells[0]) == list(careful.cells[0]) == ["1,5", "3,5"]
    assert careful.said.split(": ")[0] == swept.said.split(": ")[0]


@pytest.mark.parametrize(
    "content",
    [
        b'a,b\n"1",2\n',
        b"a,b\n1,2\n\n3,4\n",
        b"a,b\r\n1,2\r\n\r\n3,4\r\n",
        b"\na,b\n1,2\n",
        b"\xef\xbb\xbfa,b\n1,2\n",
        b"a,b\n1\n2,3\n",
        b"a,b\n1,2,3\n",
        b"a,a\n1,2\n",
        b"a,b\n1,\xff\n",
        b"a,b\n1,\x00\n",
        b"a,b\r1,2\r",
        b"a,b\n",
        b"",
    ],
)
def test_what_is_not_plain_is_left_to_the_careful_reader(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    assert read_plain(path) is None


def test_small_files_and_other_kinds_are_left_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "LARGE", 2**20)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert read_plain(tmp_path / "t.csv") is None
    assert read_plain(tmp_path / "t.jsonl") is None
