"""Tables as people, spreadsheets and pandas write them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path

import pandas
import pyarrow
import pyarrow.parquet
import pytest

from metaweight.data.tables import Table, read_table

ROWS = [("eins, zwei", "one; two"), ('"Ja"', "yes"), ("drei", "three\nlines")]


def zstd(data: bytes) -> bytes:
    return bytes(pyarrow.compress(data, "zstd", asbytes=True))


PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows_of(table: Table) -> list[tuple[object, ...]]:
    return list(zip(*table.cells, strict=True))


def lines_of(table: Table) -> list[int]:
    assert table.origins.unit == "line"
    return table.origins.row.tolist()


@pytest.mark.parametrize("packed", PACK)
def test_packed_files_are_read_and_broken_ones_named(tmp_path: Path, packed: str) -> None:
    whole = PACK[packed](b"a\tb\n" * 200)
    path = written(tmp_path / f"a.tsv{packed}", whole)
    assert rows_of(read_table(path)) == [("a", "b")] * 200
    # as tools write that work on parts at once
    assert len(read_table(written(path, whole + whole))) == 400
    for broken in (whole[:-3], b"", b"a\tb\n"):
        with pytest.raises(ValueError, match=rf"a\.tsv{packed} is no whole {packed} file"):
            read_table(written(path, broken))


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_the_byte_order_mark_says_the_encoding(tmp_path: Path, codec: str) -> None:
    mark = "" if codec == "utf-8-sig" else "\ufeff"
    path = written(tmp_path / "a.tsv", (mark + "grün\tgreen\nmüde\t\U0001f634\n").encode(codec))
    table = read_table(path)
    assert rows_of(table) == [("grün", "green"), ("müde", "\U0001f634")]
    assert table.notes == (() if codec == "utf-8-sig" else (f"it is {codec[:6].upper()}",))


def test_other_bytes_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.csv, line 2: invalid UTF-8 at byte 3 .*0xfc.*WINDOWS-1252"):
        read_table(written(tmp_path / "a.csv", "a,b\ngrün,x\n".encode("latin-1")))
    with pytest.raises(ValueError, match="UTF-16 without a byte order mark"):
        read_table(written(tmp_path / "a.tsv", "source\ttarget\nja\tyes\n".encode("utf-16-le")))
    with pytest.raises(ValueError, match=r"line 2: invalid UTF-16 at byte 3 of the line"):
        read_table(written(tmp_path / "a.tsv", b"\xff\xfea\x00\n\x00b\x00\x00\xdcc\x00"))
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(ValueError, match=r"b\.csv is a folder"):
        read_table(tmp_path / "b.csv")


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_csv_is_found_and_said(tmp_path: Path, mark: str) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=mark).writerows([("source", "target"), *ROWS])
    table = read_table(written(tmp_path / "a.csv", text.getvalue()))
    assert rows_of(table) == ROWS
    assert lines_of(table) == [2, 3, 4]
    said = {",": "", ";": "cut at semicolons", "\t": "cut at tabs", "|": "cut at bars"}[mark]
    assert said in table.said


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (
            "Ja, gern;Yes, gladly\nNein, danke;No, thanks\n",
            [("Ja, gern", "Yes, gladly"), ("Nein, danke", "No, thanks")],
        ),
        ("Ja; gern,Yes; gladly\nNein,No\n", [("Ja; gern", "Yes; gladly"), ("Nein", "No")]),
        ("sep=;\nJa;Yes\nNein;No\n", [("Ja", "Yes"), ("Nein", "No")]),
        ("Ja, eins;Yes\nNein, zwei;No\n", [("Ja, eins", "Yes"), ("Nein, zwei", "No")]),
        ("Ja,Yes\rNein,No\r", [("Ja", "Yes"), ("Nein", "No")]),
        ('"a;b";"c,d"\n"e;f";"g,h"\n', [("a;b", "c,d"), ("e;f", "g,h")]),
    ],
)
def test_delimiters_inside_of_sentences_are_text(
    tmp_path: Path, text: str, rows: list[tuple[str, str]]
) -> None:
    assert rows_of(read_table(written(tmp_path / "a.csv", text))) == rows


def test_a_broken_row_does_not_change_the_delimiter(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 9: 3 fields, expected 2 as in line 1"):
        read_table(written(tmp_path / "a.csv", "Ja, gern;Yes\n" * 8 + "a;b;c\n"))


@pytest.mark.parametrize(
    ("first", "headed"),
    [
        ("source\ttarget", True),
        ("Source\tTarget ", True),
        ("src\ttgt\tscore", True),
        ("\ttext\tlabel", True),
        ("en\tde", True),
        ("en-US\tpt_BR", True),
        ("eng_Latn\tmyv_Cyrl", True),
        ("English\tGerman", True),
        ("text\ttext", False),
        ("The source is here.\tDie Quelle ist hier.", False),
        ("Hello\tHallo", False),
        ("source\tQuelle", False),
        ("1\t2", False),
        ("\t", False),
    ],
)
def test_a_header_is_found_and_a_sentence_is_none(tmp_path: Path, first: str, headed: bool) -> None:
    width = first.count("\t") + 1
    body = "\t".join(["a sentence of some words"] * width) + "\n"
    table = read_table(written(tmp_path / "a.tsv", f"\n{first}\n{body * 3}"))
    assert table.headed == headed
    assert lines_of(table) == ([3, 4, 5] if headed else [2, 3, 4, 5])
    if headed:
        assert table.columns == tuple(first.split("\t"))
        assert "line 2 is its header" in table.said
    assert "1 blank line skipped" in table.said


def test_words_that_are_codes_of_languages_stay_a_pair_in_a_list_of_words(tmp_path: Path) -> None:
    table = read_table(written(tmp_path / "a.tsv", "it\tes\nhe\ter\nso\tso\n"), names=("source", "target"))
    assert rows_of(table)[0] == ("it", "es")
    assert table.columns == ("source", "target")


def quoted(rows: list[tuple[str, ...]], quoting: int = csv.QUOTE_MINIMAL, end: str = "\n") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", quoting=quoting, lineterminator=end).writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_quotes_of_a_writer_are_taken_off_a_tsv_and_said(tmp_path: Path, quoting: int, end: str) -> None:
    rows = [*ROWS, ("tab\there", 'he said "one"'), ("", "x")]
    table = read_table(written(tmp_path / "a.tsv", quoted(rows, quoting, end)))
    assert rows_of(table) == rows
    assert lines_of(table) == [1, 2, 3, 5, 6]
    assert "the quotes are taken off" in table.said


def test_a_spreadsheet_s_tabs_are_read_as_it_shows_them(tmp_path: Path) -> None:
    """It quotes fields with a comma too."""
    text = '"Ja, gern"\tYes\nNein\t"No, thanks"\n"Er sagte ""ja"""\t"He said, yes"\n'
    assert rows_of(read_table(written(tmp_path / "a.tsv", text)))[:2] == [
        ("Ja, gern", "Yes"),
        ("Nein", "No, thanks"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        '"Ja", sagte er\t"Yes", he said\n',
        'Er sagte "ja"\tHe said "yes"\n',
        '"Ja, gern."\t"Yes, gladly."\nNein, danke.\tNo, thanks.\n',
        '"Ja."\t"Yes."\nNein.\tNo.\n',
        '"Ja.\tYes.\nNein."\tNo.\n',
        '5" breit\t5 inches wide\n',
        '"\t"\n',
        'Er sagte ""ja""\tHe said ""yes""\n',
    ],
)
def test_quotes_that_are_text_stay(tmp_path: Path, text: str) -> None:
    table = read_table(written(tmp_path / "a.tsv", text))
    assert rows_of(table) == [tuple(line.split("\t")) for line in text.splitlines()]
    assert table.notes == ()


def test_quotes_of_both_sorts_stay_with_a_word_of_it(tmp_path: Path) -> None:
    text = 'Ja\tYes\n"Er sagte ""ja"""\tx\nSie sagte "nein"\ty\n'
    table = read_table(written(tmp_path / "a.tsv", text))
    assert rows_of(table)[1] == ('"Er sagte ""ja"""', "x")
    assert "line 2 looks quoted as CSV has it, line 3 does not" in table.said


def test_a_lone_return_is_a_part_of_its_field(tmp_path: Path) -> None:
    table = read_table(written(tmp_path / "a.csv", 'a\r,b\n"c\rd\r\ne",f\r\r\ng,h\r\n'))
    assert rows_of(table) == [("a\r", "b"), ("c\rd\r\ne", "f\r"), ("g", "h")]
    assert lines_of(table) == [1, 2, 4]


def test_pandas_writes_what_is_read(tmp_path: Path) -> None:
    frame = pandas.DataFrame(ROWS, columns=["source", "target"])
    for name, options in (("a.tsv", {"sep": "\t"}), ("a.csv", {}), ("b.csv.zst", {"sep": ";"})):
        frame.to_csv(tmp_path / "plain", index=True, **options)
        content = (tmp_path / "plain").read_bytes()
        path = written(tmp_path / name, zstd(content) if name.endswith("zst") else content)
        table = read_table(path)
        assert table.columns == ("", "source", "target")
        assert list(zip(table.column("source"), table.column("target"), strict=True)) == ROWS
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        assert rows_of(read_table(tmp_path / name)) == ROWS


def test_keys_inside_of_others_are_named_by_dots(tmp_path: Path) -> None:
    values = [
        {"t": {"de": "a", "en": {"us": "b"}}, "t.fr": "c", "n": 1},
        {"t": {"de": "d", "en": {"us": "e"}, "fr": "not this"}, "t.fr": "f", "n": None},
    ]
    text = "\n" + "\n \n".join(json.dumps(value) for value in values)
    table = read_table(written(tmp_path / "a.jsonl", text), wanted=("t.de", "t.en.us", "t.fr", "n"))
    assert rows_of(table) == [("a", "b", "c", 1), ("d", "e", "f", None)]
    assert lines_of(table) == [2, 4]
    assert table.notes == ("2 blank lines skipped",)
    with pytest.raises(ValueError, match=r"line 2: no key 't.dee'\. Did you mean 'de'"):
        read_table(tmp_path / "a.jsonl", wanted=("t.dee",))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(values), tmp_path / "a.parquet")
    parquet = read_table(tmp_path / "a.parquet", wanted=("t.de", "t.en.us", "t.fr", "n"))
    assert rows_of(parquet) == rows_of(table)
    assert (parquet.origins.unit, parquet.origins.row.tolist()) == ("row", [1, 2])
    with pytest.raises(ValueError, match=r"a\.parquet has no 't\.dee'\. Did you mean 'de'"):
        read_table(tmp_path / "a.parquet", wanted=("t.dee",))
    with pytest.raises(ValueError, match=r"a\.parquet has no column 'nn'\. Did you mean 'n'"):
        read_table(tmp_path / "a.parquet", wanted=("nn",))


def test_a_cell_that_is_no_text_is_named_by_its_place(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"a": ["x", None]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet, row 2: 'a' is no string but null"):
        read_table(tmp_path / "a.parquet").texts("a")
    table = read_table(written(tmp_path / "a.jsonl", '{"a": "x"}\n\n{"b": 1}\n'))
    with pytest.raises(ValueError, match=r"a\.jsonl, line 3: 'a' is no string but null"):
        table.texts("a")
    with pytest.raises(ValueError, match=r"a\.parquet is no whole Parquet file"):
        read_table(written(tmp_path / "a.parquet", b"PAR1 no"))
