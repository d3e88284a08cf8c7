"""BIO files and tables of lists: sentences with the line that each begins at, and mistakes with theirs."""

import gzip
import json
import lzma
from pathlib import Path

import pandas as pd
import pytest

from metaweight.data.tokens import Sentence, as_sentences, read_sentences


def file(folder: Path, text: str, name: str = "a.bio") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def told(path: str, **columns: str) -> list[tuple[int, str, str]]:
    rows = read_sentences(path, **columns)
    cells = zip(*(map(str, rows.frame[name]) for name in list(rows.frame.columns)[:2]), strict=True)
    return [(origin.row, *cell) for origin, cell in zip(rows.origins, cells, strict=True)]


def test_a_sentence_begins_at_its_line_as_an_editor_counts(tmp_path: Path) -> None:
    text = "# made by hand\n\nAnn\tB-PER\nsaw\tO\n\n\n# next\n#tag\tO\nOslo\tB-LOC\n"
    path = file(tmp_path, text)
    assert told(path) == [(3, "Ann saw", "B-PER O"), (8, "#tag Oslo", "O B-LOC")]
    assert read_sentences(path).notes == (f"{path}: 2 comments skipped",)


def test_conll_at_spaces_with_columns_between(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- -X- O\n\n# a b c\nU.N. NNP I-NP I-ORG\nheads NNS I-NP O\n\nto TO B O\n"
    path = file(tmp_path, text, "train.txt")
    assert told(path) == [(4, "U.N. heads", "I-ORG O"), (7, "to", "O")]
    assert f"{path}: 1 -DOCSTART- line skipped" in read_sentences(path).notes
    assert list(read_sentences(path).frame.columns) == ["tokens", "labels"]
    assert told(path, label="2")[0] == (4, "U.N. heads", "NNP NNS")


def test_a_header_names_columns_and_the_first_token_speaks_for_its_sentence(tmp_path: Path) -> None:
    text = "#split\ttoken\tlabel\tnoisy\ntrain\tAnn\tB\tO\ntrain\tsaw\tO\tO\n\ntest\tOslo\tB\tB\n"
    path = file(tmp_path, text, "a.tsv")
    rows = read_sentences(path)
    assert [origin.row for origin in rows.origins] == [2, 5]
    frame = rows.frame
    assert frame["split"].tolist() == ["train", "test"]
    assert frame["token"].tolist() == [("Ann", "saw"), ("Oslo",)]
    assert frame["label"].tolist() == [("B", "O"), ("B",)]
    assert read_sentences(path, label="noisy").frame["noisy"].tolist() == [("O", "O"), ("B",)]


def test_conllu_has_its_words_and_their_upos(tmp_path: Path) -> None:
    rest = "\t_" * 5
    words = [("1-2", "Don't", "_"), ("1", "Do", "AUX"), ("2", "n't", "PART"), ("2.1", "you", "PRON")]
    lines = [f"{n}\t{word}\t_\t{upos}\t_{rest}\n" for n, word, upos in words]
    path = file(tmp_path, "# text = Don't\n" + "".join(lines), "a.conllu")
    assert told(path, tokens="form", label="upos")[0][0] == 3
    rows = read_sentences(path)
    assert (rows.frame["form"][0], rows.frame["upos"][0]) == (("Do", "n't"), ("AUX", "PART"))
    assert f"{path}: 2 CoNLL-U ranges skipped" in rows.notes


def test_only_the_columns_that_are_used_need_be_filled(tmp_path: Path) -> None:
    path = file(tmp_path, "#token\tlabel\tnoisy\nAnn\tB\t\n", "a.tsv")
    assert read_sentences(path, label="label").frame["label"].tolist() == [("B",)]
    with pytest.raises(ValueError, match=r"a\.tsv, line 2: field 3 is empty"):
        read_sentences(path, label="noisy")


def test_packed_files(tmp_path: Path) -> None:
    body = b"a\tO\r\n\r\nb\tB\r\n"
    for name, packed in (("a.bio.gz", gzip.compress(body)), ("a.conll.xz", lzma.compress(body))):
        (tmp_path / name).write_bytes(packed)
        assert told(str(tmp_path / name)) == [(1, "a", "O"), (3, "b", "B")]


def test_lists_of_json_lines_and_parquet(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "tokens": ["a b", "c"], "ner_tags": [0, 3]},
        {"id": 2, "tokens": ["d"], "ner_tags": [1]},
    ]
    path = file(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "a.jsonl")
    frame = read_sentences(path).frame
    assert frame["tokens"].tolist() == [("a b", "c"), ("d",)]
    assert frame["ner_tags"].tolist() == [("0", "3"), ("1",)]
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    again = read_sentences(str(tmp_path / "a.parquet"))
    assert again.frame["tokens"].tolist() == frame["tokens"].tolist()
    assert [origin.row for origin in again.origins] == [1, 2]
    assert str(Sentence(("a", "b"))) == "a b"
    assert as_sentences(again).frame["tokens"].tolist() == frame["tokens"].tolist()


def test_each_part_is_its_split_of_a_saved_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    splits = {
        part: datasets.Dataset.from_list([{"tokens": [part], "tags": ["O"]}]) for part in ("train", "test")
    }
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    for part in splits:
        assert read_sentences(str(tmp_path / "saved"), part).frame["tokens"].tolist() == [(part,)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tO\nb\n", "a.bio, line 2: 1 field, expected 2"),
        ("a\tO\n\nb\tO\tO\n", "a.bio, line 3: 3 fields, expected 2"),
        ("a\tO\nb\t \n", "a.bio, line 2: field 2 is empty.*: fill it in, or take its sentence out"),
        ("a\nb\n", "a.bio, line 1: 'a' is one field, and a line holds a token and its label with a tab or"),
        ("# by hand\n\nAnn;B-PER\n", "a.bio, line 3: 'Ann;B-PER' is one field.*put a tab in place of ';'"),
        ("# nothing\n\n", "a.bio holds comments and blank lines, and no token"),
        ("", "a.bio is empty"),
        ("#token\tlabel\nAnn\tNNP\tO\n", "a.bio, line 1: the header names 2 columns, the lines have 3"),
    ],
)
def test_a_mistake_names_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_sentences(file(tmp_path, text))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": "lable"}, "no column 'lable'. Did you mean 'label'"),
        ({"label": "token"}, "column 'token' cannot hold both"),
        ({"tokens": "3"}, "no column '3'"),
    ],
)
def test_columns_that_there_are_not(tmp_path: Path, columns: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_sentences(file(tmp_path, "#token\tlabel\nAnn\tO\n"), **columns)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "labels": ["O"]}, "a.jsonl, line 1: 2 tokens have 1 labels"),
        ({"tokens": "a b", "labels": ["O"]}, "a.jsonl, line 1: 'tokens' is no list of words but 'a b'"),
        ({"tokns": ["a"], "labels": ["O"]}, "which column holds the tokens.*Did you mean 'tokns'"),
    ],
)
def test_rows_that_are_no_sentences(tmp_path: Path, row: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_sentences(file(tmp_path, json.dumps(row) + "\n", "a.jsonl"))
