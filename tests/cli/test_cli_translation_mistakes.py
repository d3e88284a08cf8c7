"""Mistakes in a user's own files and options: words that name file and line, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_translation import TRAIN, Files, flags, own, own_files, pairs, words, write

from metaweight.cli.main import main


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return own_files(tmp_path)


LONG = "rot " * 25_000


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train", b"rot blau\n", "train.tsv, line 1: 1 fields, expected 2"),
        (
            "train",
            b"rot\tred\n" * 70 + b"rot\tr\xffd\n",
            "train.tsv, line 71: invalid UTF-8 at byte 6",
        ),
        ("train", b"\tred\nrot\t \n", "train.tsv: kept 0 of 2 pairs, dropped: empty 2"),
        ("train", b"", "train.tsv is empty"),
        ("meta", b"rot\tred\nblau\t \n", "meta.tsv, line 2: the target is empty"),
        ("valid", b"rot\tred\n\tblue\n", "valid.tsv, line 2: the source is empty"),
        ("test", b"\t\n", "test.tsv, line 1: the source is empty"),
        ("meta", "\nrot\tred\n\u3000\u200b\tblue\n".encode(), "meta.tsv, line 3: the source is empty"),
        ("train", b"a\tb\tc\n" * 9, "train.tsv, line 1: 3 fields, expected 2"),
        ("meta", f"rot\tred\n{LONG}\tred\n".encode(), "meta.tsv, line 2: the source has 100,000 characters"),
        ("valid", f"rot\t{LONG}\n".encode(), "valid.tsv, line 1: the target has 100,000 characters"),
        ("test", f"rot\t{LONG}\n".encode(), "test.tsv, line 1: the target has 100,000 characters"),
        ("meta", b"rot\tr\xe9d\n", "meta.tsv, line 1: invalid UTF-8 at byte 6"),
    ],
)
def test_a_bad_file_is_named_with_its_line_and_leaves_nothing(
    file: str, content: bytes, message: str, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files[file].write_bytes(content)
    out = tmp_path / "run"
    assert main([*TRAIN, *own(files, *files), *flags(), "--out", str(out)]) == 2
    assert message in words(capsys)
    assert not out.exists()


@pytest.mark.parametrize(
    ("header", "row", "columns", "message"),
    [
        (
            "de,en",
            "a,b",
            ["de", "eng"],
            "table.csv, line 1: the header has no column 'eng'. Did you mean 'en'",
        ),
        ("de,en", '"a\nb",', ["de", "en"], "table.csv, line 2: the target is empty"),
        ("de,en", "a,b", ["de", "de"], "are 2 columns"),
    ],
)
def test_columns_of_a_table_are_looked_up(
    header: str,
    row: str,
    columns: list[str],
    message: str,
    files: Files,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = tmp_path / "table.csv"
    table.write_text(f"{header}\n{row}\n", encoding="utf-8")
    (tmp_path / "good.csv").write_text("de,en\nrot,red\n", encoding="utf-8")
    chosen = {"train": tmp_path / "good.csv", "meta": table, "valid": tmp_path / "good.csv"}
    out = tmp_path / "run"
    assert main([*TRAIN, *own(chosen), "--columns", *columns, *flags(), "--out", str(out)]) == 2
    assert message in words(capsys).replace("good.csv", "table.csv")
    assert not out.exists()


def test_plain_files_of_different_lengths_are_named(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    german, english = tmp_path / "a.de", tmp_path / "a.en"
    german.write_text("rot\nblau\n", encoding="utf-8")
    english.write_text("red\n", encoding="utf-8")
    files["meta"] = Path(f"{german},{english}")
    assert main([*TRAIN, *own(files), *flags(), "--out", str(tmp_path / "run")]) == 2
    assert f"{german}, line 2: no such line in {english}, which has 1 lines of 2" in words(capsys)


def test_shared_sentences_are_named_or_dropped(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = pairs(60, 76)
    write(files["train"], [*pairs(0, 60), trusted[0], (trusted[1][0], "red"), ("rot", trusted[2][1])])
    arguments = [*TRAIN, *own(files), *flags(teacher="uniform"), "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    text = words(capsys)
    assert f"3 of the train pairs ({files['train']}) share a sentence with the meta pairs" in text
    repeated = (trusted[0][0], trusted[1][0], trusted[2][1])
    where = [f"{files['train']}, line {line}: '{text}'" for line, text in enumerate(repeated, 61)]
    assert f"({files['meta']}): {', '.join(where)}; remove them" in text
    assert "--overlap drop" in text
    assert not (tmp_path / "run").exists()
    assert main([*arguments, "--overlap", "drop"]) == 0
    text = words(capsys)
    assert "train.tsv, 60 training pairs" in text
    assert "kept 63 of 63 pairs; 3 more share a sentence with a trusted file" in text


def test_trusted_files_that_share_a_sentence_are_named(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(files["valid"], pairs(75, 84))
    arguments = [*TRAIN, *own(files), *flags(), "--overlap", "drop", "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    text = words(capsys)
    assert f"1 of the meta pairs ({files['meta']}) share a sentence with the valid pairs" in text
    assert "--overlap" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vocab-size", "5000"], "vocab_size 5000 is more than the text allows"),
        (["--vocab-size", "6"], "too small: characters and special pieces alone are"),
        (["--character-coverage", "1.5"], "character_coverage is a share in (0, 1], got 1.5"),
        (["--languages", "de", "de"], "source and target language are both 'de'"),
        (["--unit", "word"], "a unit of text is sentence or token, got 'word'"),
        (["--unit", "tokens"], "got 'tokens'"),
        (["--data", "multi30k"], "data has no meaning beside train"),
        (["--meta-size", "5"], "meta_size has no meaning beside train"),
        (["--teacher", "atention"], "Did you mean 'attention'"),
        (["--model", "transformer"], "Did you mean 'transformer-"),
        (["--model-options", "widht=4"], "Did you mean 'width'"),
        (["--overlap", "dorp"], "unknown overlap 'dorp'. Did you mean 'drop'"),
        (["--vocab-model", "bpee"], "Did you mean 'bpe'"),
        (["--noise", "copid"], "Did you mean 'copied'"),
        (["--batch-size", "61"], "train.tsv, train pairs: batch_size 61 gives no batch of 60 pairs"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used here"),
    ],
)
def test_a_mistake_in_an_option_leaves_nothing(
    arguments: list[str], message: str, files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main([*TRAIN, *own(files), *flags(), *arguments, "--out", str(out)]) == 2
    assert message in words(capsys)
    assert not out.exists()


def test_which_files_a_run_needs_is_said(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run")]
    for given in (["train"], ["train", "meta"], ["train", "valid"]):
        assert main([*TRAIN, *own(files, *given), *flags(), *out]) == 2
        assert "beside train give meta, the trusted pairs, and valid or test" in words(capsys)
    assert main([*TRAIN, *own(files, "meta", "valid"), *flags(), *out]) == 2
    assert "meta goes with train" in words(capsys)
    assert main([*TRAIN, *own(files, "train", "meta", "test"), *flags(teacher="uniform"), *out]) == 0
    assert "valid loss" not in words(capsys)  # the test set chooses nothing


def test_two_tables_are_no_two_sides(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = ["--train", str(files["train"]), str(files["test"])]
    out = ["--out", str(tmp_path / "run")]
    assert main([*TRAIN, *two, *own(files, "meta", "valid"), *flags(), *out]) == 2
    assert f"{files['train']} and {files['test']} are tables, which hold both sides" in words(capsys)


def test_rare_characters_need_no_piece_where_that_is_asked_for(
    files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with files["train"].open("a", encoding="utf-8") as file:
        file.writelines(f"rot {chr(0x4E00 + n)}\tred {chr(0x5E00 + n)}\n" for n in range(20))
    arguments = [*TRAIN, *own(files), *flags(teacher="uniform", epochs=1), "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "or a character_coverage below 1, such as 0.9995" in words(capsys)
    assert main([*arguments, "--character-coverage", "0.98"]) == 0
