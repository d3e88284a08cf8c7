from __future__ import annotations

import csv
import gzip
import json
import lzma
from pathlib import Path

import pytest

from metaweight.data.text import Bitext, read_bitext, read_lines, read_splits
from metaweight.data.text.files import read_pairs

# quotes, commas, a line separator, a lone return and a no-break space are parts of a sentence
SENTENCES = [
    ('Sie sagte: "Ja, gern."', 'She said: "Yes, gladly."'),
    ("eins\u2028zwei\x85drei", "one\rtwo\x0bthree"),
    ("\u00a0Grüß Gott! ", "Hello \U0001f44b"),
]
PAIRS = Bitext(*zip(*SENTENCES, strict=True))
PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def write(path: Path, text: str | bytes) -> Path:
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(PACK[path.suffix if path.suffix in PACK else ""](data))
    return path


def table(rows: list[tuple[str, ...]], end: str = "\n") -> str:
    return "".join("\t".join(row) + end for row in rows)


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tsv_gives_every_sentence_as_written(tmp_path, packed, end):
    path = write(tmp_path / f"a.tsv{packed}", table(SENTENCES, end))
    assert read_bitext(path) == PAIRS
    assert read_bitext(str(path)) == PAIRS
    headed = write(
        tmp_path / f"b.tsv{packed}",
        table([("en", "id", "de")], end)
        + table([(target, "7", source) for source, target in SENTENCES], end),
    )
    assert read_bitext(headed, columns=("de", "en")) == PAIRS


@pytest.mark.parametrize("packed", PACK)
def test_csv_gives_what_the_csv_module_wrote(tmp_path, packed):
    rows = [*SENTENCES, ("zwei\nZeilen", "two\r\nlines"), ("", 'a "" b')]
    plain = tmp_path / "plain.csv"
    with plain.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("de", "en"), *rows])
    path = write(tmp_path / f"a.csv{packed}", plain.read_bytes())
    assert read_bitext(path, columns=("de", "en")) == Bitext(*zip(*rows, strict=True))
    assert read_bitext(path) == Bitext(*zip(*rows, strict=True))  # the header is found


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("escaped", [True, False])
def test_json_lines_are_read_by_key(tmp_path, packed, escaped):
    rows = [{"id": i, "en": t, "de": s} for i, (s, t) in enumerate(SENTENCES)]
    text = "\n".join(json.dumps(row, ensure_ascii=escaped) for row in rows)
    assert read_bitext(write(tmp_path / f"a.jsonl{packed}", text), columns=("de", "en")) == PAIRS


@pytest.mark.parametrize("packed", PACK)
def test_two_plain_files_are_read_line_by_line(tmp_path, packed):
    source = write(tmp_path / f"a.de{packed}", "eins\n\nzwei\u2028drei")
    target = write(tmp_path / f"a.en{packed}", "one\r\n \ntwo\tthree\n")
    assert read_lines(source, target) == Bitext(("eins", "", "zwei\u2028drei"), ("one", " ", "two\tthree"))


def test_splits_keep_their_order_and_their_pairs(tmp_path):
    rows = [("val", "a", "A"), ("train", "b", "B"), ("val", "c", "C")]
    expected = {"val": Bitext(("a", "c"), ("A", "C")), "train": Bitext(("b",), ("B",))}
    bare = read_splits(write(tmp_path / "a.tsv", table(rows)))
    assert bare == expected
    assert list(bare) == ["val", "train"]
    headed = write(tmp_path / "b.tsv", table([("part", "x", "y"), *rows]))
    assert read_splits(headed, columns=("x", "y"), split_column="part") == expected
    lines = "\n".join(json.dumps(dict(zip("pxy", row, strict=True))) for row in rows)
    assert read_splits(write(tmp_path / "c.jsonl", lines), columns=("x", "y"), split_column="p") == expected
    with pytest.raises(ValueError, match="go together, got None and 'part'"):
        read_splits(headed, split_column="part")


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path):
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbfde,en\nja,yes\n")
    assert read_bitext(path, columns=("de", "en")) == Bitext(("ja",), ("yes",))


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl"])
def test_a_line_of_300_000_characters_is_read_and_no_setting_is_left_behind(tmp_path, kind):
    before = csv.field_size_limit()
    long = "ü" * 300_000
    text = {
        "tsv": f"de\ten\n{long}\tx",
        "csv": f"de,en\n{long},x",
        "jsonl": json.dumps({"de": long, "en": "x"}),
    }
    assert read_bitext(write(tmp_path / f"a.{kind}", text[kind]), columns=("de", "en")).source == (long,)
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl"])
def test_invalid_utf8_names_file_line_and_byte(tmp_path, kind, packed):
    path = write(tmp_path / f"a.{kind}{packed}", "Tür\tdoor\n".encode() * 2 + "Tür\tdoor".encode("latin-1"))
    with pytest.raises(ValueError, match=rf"a\.{kind}{packed}, line 3: invalid UTF-8 at byte 2 .*0xfc"):
        read_bitext(path, columns=("de", "en"))
    with pytest.raises(ValueError, match=r"line 3: invalid UTF-8"):
        read_lines(path, path)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.tsv", "de\ten\na\tb\nc\n", r"a\.tsv, line 3: 1 fields, expected 2 as in the header"),
        ("a.tsv", "de\ten\na\tb\tc\n", r"line 2: 3 fields, expected 2"),
        ("a.tsv", "de\ten\na\tb\n\nc\n", r"line 4: 1 fields"),
        ("a.csv", 'de,en\n"a\nb",c\nd\n', r"a\.csv, line 4: 1 fields, expected 2"),
        ("a.csv", 'de,en\na,b\n"c,d\ne,f\n', r"line 3: invalid CSV: unexpected end of data"),
        ("a.csv", 'de,en\n"a"b,c\n', r"line 2: invalid CSV"),
        ("a.tsv", "deu\ten\na\tb\n", r"line 1: the header has no column 'de'\. Did you mean 'deu'"),
        ("a.tsv", "de\ten\tde\na\tb\tc\n", r"names column 'de' 2 times"),
        ("a.tsv", "de\ten\n", r"holds a header and no row"),
        ("a.tsv", "", r"a\.tsv is empty"),
        ("a.csv.gz", "", r"a\.csv\.gz is empty"),
        ("a.jsonl", '{"de": "a", "en": "b"}\n{"de": "a"', r"a\.jsonl, line 2: invalid JSON: .*column 11"),
        ("a.jsonl", '{"de": "a", "en": "b"}\n\n{', r"line 3: invalid JSON"),
        ("a.jsonl", '["a", "b"]', r"line 1: expected an object, got '\[\"a\", \"b\"\]'"),
        ("a.jsonl", '{"de": "a", "eng": "b"}', r"line 1: no key 'en'\. Did you mean 'eng'"),
        ("a.jsonl", '{"de": null, "en": "b"}', r"line 1: 'de' is no string but null"),
        ("a.jsonl", '{"de": "\\ud800", "en": "b"}', r"line 1: 'de' holds half a surrogate"),
        ("a.jsonl", "[" * 200_000, r"line 1: invalid JSON"),
        ("a.txt", "a\tb", r"ends in '\.txt'; use \.tsv, \.csv, \.jsonl or \.parquet"),
        ("a.gz", "a\tb", r"ends in 'nothing'"),
    ],
)
def test_a_file_that_does_not_fit_names_itself_and_the_line(tmp_path, name, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_bitext(write(tmp_path / name, text), columns=("de", "en"))


def test_a_table_without_header_has_exactly_its_columns(tmp_path):
    path = write(tmp_path / "a.tsv", "a\tb\nc\td\te\n")
    with pytest.raises(ValueError, match=r"line 2: 3 fields, expected 2 \(source, target"):
        read_bitext(path)
    with pytest.raises(ValueError, match=r"line 1: 2 fields, expected 3 \(split, source, target"):
        read_splits(path)
    with pytest.raises(ValueError, match=r"which columns are source and target .*it has 'de', 'en', 'id'"):
        read_bitext(write(tmp_path / "a.jsonl", '{"de": "a", "en": "b", "id": 1}'))
    with pytest.raises(ValueError, match=r"source, target are 2 columns, got \('a', 'a'\)"):
        read_bitext(path, columns=("a", "a"))


@pytest.mark.parametrize("lengths", [(2, 3), (3, 2)])
def test_files_of_different_lengths_name_the_first_line_without_partner(tmp_path, lengths):
    paths = [write(tmp_path / f"{n}.txt", "x\n" * n) for n in lengths]
    with pytest.raises(ValueError, match=r"3\.txt, line 3: no such line in .*2\.txt, which has 2 lines of 3"):
        read_lines(*paths)


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.tsv: there is no such file"):
        read_bitext(tmp_path / "gone.tsv")
    for packed in (".gz", ".xz"):
        path = write(tmp_path / f"a.tsv{packed}", "a\tb\n" * 100)
        whole = path.read_bytes()
        for broken in (whole[:-9], b"a\tb\n", b"", whole[:20] + b"\xff" * 20 + whole[40:]):
            path.write_bytes(broken)
            with pytest.raises(ValueError, match=rf"a\.tsv{packed} is "):
                read_bitext(path)
    with pytest.raises(ValueError, match=r"a\.txt is empty"):
        read_lines(write(tmp_path / "a.txt", ""), write(tmp_path / "b.txt", ""))


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
def test_source_and_target_are_found_by_their_names(tmp_path, name):
    rows = [("trg", "id", "src"), *[(f"one sentence {n}", str(n), f"ein Satz {n}") for n in range(3)]]
    text = {
        "a.tsv": table(rows),
        "a.csv": "".join(";".join(row) + "\n" for row in rows),
        "a.jsonl": "".join(json.dumps(dict(zip(rows[0], row, strict=True))) + "\n" for row in rows[1:]),
    }[name]
    read = read_pairs(write(tmp_path / name, text))
    assert read.bitext == Bitext([row[2] for row in rows[1:]], [row[0] for row in rows[1:]])
    assert ("line 1 is its header (trg, id, src)" in read.notes) == (name != "a.jsonl")


def test_languages_name_the_columns_where_a_header_has_them(tmp_path):
    path = write(
        tmp_path / "a.tsv", table([("en", "de"), *[(f"a sentence {n}", f"ein Satz {n}") for n in "123"]])
    )
    assert read_pairs(path).bitext.source[0] == "a sentence 1"
    assert read_pairs(path, languages=("de", "en")).bitext.source[0] == "ein Satz 1"
    assert read_pairs(path, languages=("de", "fr")).bitext.source[0] == "a sentence 1"  # just a label
    lines = [json.dumps({"id": n, "translation": {"en": f"e{n}", "de": f"d{n}"}}) for n in range(2)]
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    assert read_pairs(path, languages=("de", "en")).bitext == Bitext(("d0", "d1"), ("e0", "e1"))
    assert read_bitext(path, columns=("translation.en", "translation.de")).source == ("e0", "e1")
    with pytest.raises(ValueError, match=r"not clear; name them \(columns\), it has 'id', 'translation'"):
        read_bitext(path)
