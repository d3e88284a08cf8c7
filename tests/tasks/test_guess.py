"""The task is guessed from the user's files, and the guess is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_rows import QUICK, rows, write

from metaweight.cli.main import main
from metaweight.tasks.guess import guess_task

LONG = "the plot is thin and the actors do not care, said everybody who saw it, number "


def table(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_each_kind_of_file_has_its_task(tmp_path: Path) -> None:
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    cases = {
        "image": [
            str(tmp_path / "pictures"),
            table(tmp_path / "paths.csv", "file,kind", "a/1.png,cat", "a/2.JPG,dog"),
            table(tmp_path / "train-images-idx3-ubyte"),
        ],
        "text": [
            table(tmp_path / "t.csv", "text,label", *(f'"{LONG}{n}",{n % 2}' for n in range(20))),
            table(tmp_path / "n.tsv", "id\twords\tclass", *(f"{n}\t{LONG}{n}\ta" for n in range(20))),
        ],
        "translation": [table(tmp_path / "p.tsv", "de\ten", *(f"{LONG}{n}\t{LONG}{n}!" for n in range(20)))],
        "tabular": [
            str(write(tmp_path / "rows.csv", rows(30, 0))),
            str(write(tmp_path / "rows.parquet", rows(30, 0))),
            table(tmp_path / "mixed.csv", "text,size,label", *(f'"{LONG}{n}",{n}.5,a' for n in range(20))),
        ],
        "tokens": [
            table(tmp_path / "x.conll", "Anna\tB-PER", "left\tO"),
            table(tmp_path / "x.jsonl", '{"tokens": ["Anna", "left"], "tags": ["B-PER", "O"]}'),
        ],
    }
    for task, places in cases.items():
        for place in places:
            assert guess_task([place]).task == task, place
    assert guess_task(["a.de", "a.en"]).task == "translation"


def test_a_file_that_is_no_table_may_be_of_tokens(tmp_path: Path) -> None:
    place = table(tmp_path / "train.txt", "Anna B-PER", "left O")
    with pytest.raises(
        ValueError, match=r"train\.txt: which task is it for.*--task tokens where a line holds"
    ):
        guess_task([place])


def test_a_table_with_quoted_line_ends_is_read_whole_where_a_cut_would_tear_it(tmp_path: Path) -> None:
    field = '"' + "\n" * 300_000 + '"'
    assert guess_task([table(tmp_path / "q.csv", "a,b,label", f"1.5,{field},x", "2.5,z,y")]).task == "tabular"


def test_the_guess_is_said_and_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, meta = write(tmp_path / "train.csv", rows(60, 0)), write(tmp_path / "meta.csv", rows(40, 1))
    files = ["--train", str(train), "--label", "kind", "--meta", str(meta), "--out", str(tmp_path / "run")]
    assert main(["train", *files, *QUICK]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "task: tabular (a table of columns with the label 'kind'); --task says another" in said
