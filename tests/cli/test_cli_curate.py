"""`metaweight curate`: kept rows are the user's own, byte for byte, and those that they should be."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import tiny_rows
import tiny_texts
import tiny_translation
import torch
from own_pictures import right, spoilt, write, write_folder
from tiny_translation import words

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv
from metaweight.data.tables.excerpt import excerpt
from metaweight.tasks.image import data as image_data
from metaweight.tasks.rating.choice import chosen, count_of, counts_of, drawn, most

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    image_data._own.cache_clear()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(count: int = 40) -> list[dict[str, str]]:
    """A run on a table, and new rows."""
    tiny_rows.write(Path("train.csv"), tiny_rows.rows(100, 0, range(0, 100, 5)))
    tiny_rows.write(Path("meta.csv"), tiny_rows.rows(40, 1))
    files = ["--train", "train.csv", "--label", "kind", "--meta", "meta.csv", "--out", "run"]
    assert main(["train", *tiny_rows.QUICK, "--teacher", "evidence", *files]) == 0
    return [{**row, "note": f"n{number}"} for number, row in enumerate(tiny_rows.rows(count, 2))]


def curate(new: str, out: str, *arguments: str, keep: str = "0.6") -> int:
    return main(["curate", new, "--rater", "run", "--keep", keep, "--out", out, *arguments])


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_the_highest_weights_are_kept_in_the_files_own_format(ending: str, capsys: Capsys) -> None:
    rows = table()
    rows[5]["kind"] = ""
    new = tiny_rows.write(Path(f"new.{ending}"), rows)
    assert main(["rate", str(new), "--rater", "run"]) == 0
    weights = [float(row["weight"] or -1) for row in read_csv(Path("rated.csv"))]
    best = sorted(sorted(range(40), key=lambda place: (-weights[place], place))[:23])  # of 39 that have one
    capsys.readouterr()
    assert curate(str(new), f"kept.{ending}", "--no-per-class") == 0
    if ending == "parquet":
        kept = pd.read_parquet("kept.parquet")
        assert kept.to_dict("records") == [rows[place] for place in best]
    else:
        lines, first = new.read_text().splitlines(), ending != "jsonl"
        wanted = [*lines[:first], *(lines[place + first] for place in best)]
        assert Path(f"kept.{ending}").read_text().splitlines() == wanted
    counts = Counter(rows[place]["kind"] for place in best)
    there = Counter(row["kind"] for row in rows)
    each = ", ".join(f"{name} {counts[name]} of {there[name]}" for name in ("cat", "dog"))
    assert f"kept 23 of 39 rows (59.0%): {each}: kept.{ending}" in words(capsys)


def test_fields_with_line_ends_stay_whole() -> None:
    text = 'a,b\n1,"x\ny"\n\n2,"""q"""\r\n3,z'
    Path("t.csv").write_bytes(text.encode())
    assert excerpt("t.csv", [2, 5, 6], {0, 2}) == b'a,b\n1,"x\ny"\n3,z\n'
    assert excerpt("t.csv", [2, 5, 6], {0}) == b'a,b\n1,"x\ny"\n'
    assert excerpt("t.csv", [2, 5, 6], {1}) == b'a,b\n2,"""q"""\r\n'
    Path("t.bio").write_text("# one\na\tO\n\n# two\nb\tO\n\n")
    Path("t.de").write_text("a\n\nb\n")  # of plain sentences an empty line is a row
    assert excerpt("t.de", [1, 2, 3], {1, 2}) == b"\nb\n"
    assert excerpt("t.bio", [2, 5], {1}, comments=True) == b"# two\nb\tO\n\n"


def test_drawn_rows_are_the_same_for_a_seed() -> None:
    new = str(tiny_rows.write(Path("new.csv"), table()))
    for out, seed in (("a.csv", "1"), ("b.csv", "1"), ("c.csv", "2")):
        assert curate(new, out, "--sample", "--seed", seed, keep="0.5") == 0
    texts = [Path(name).read_text() for name in ("a.csv", "b.csv", "c.csv")]
    assert texts[0] == texts[1] != texts[2]
    assert all(len(text.splitlines()) == 21 for text in texts)


def test_each_class_keeps_its_share_and_one_that_vanishes_is_said(capsys: Capsys) -> None:
    rows = table(60)
    kept = [row for row in rows if row["kind"] == "cat"][:20]
    odd = {**next(row for row in rows if row["kind"] == "dog"), "x": "3", "y": "3"}  # a cat by all it shows
    new = str(tiny_rows.write(Path("new.csv"), [*kept, odd, odd, odd, odd]))
    assert curate(new, "all.csv", "--no-per-class", keep="0.5") == 0
    assert "no row of class 'dog' is kept: without --no-per-class the share is kept in" in words(capsys)
    assert curate(new, "each.csv", keep="0.5") == 0
    assert "kept 12 of 24 rows (50.0%): cat 10 of 20, dog 2 of 4: each.csv" in words(capsys)


def test_pictures_become_a_list_that_train_takes() -> None:
    write_folder(Path("pictures"), range(40), spoilt(range(40)))
    write_folder(Path("checked"), range(40, 48), right(range(40, 48)))
    quick = ["--epochs", "2", "--warmup-epochs", "1", "--batch-size", "20", "--model-options", "width=4"]
    assert main(["train", *quick, "--train", "pictures", "--meta", "checked", "--out", "run"]) == 0
    write_folder(Path("new"), range(60, 80), right(range(60, 80)))
    assert curate("new", "lists/kept.csv") == 2  # there is no such folder
    Path("lists").mkdir()
    assert curate("new", "lists/kept.csv", keep="0.5") == 0
    kept = read_csv(Path("lists/kept.csv"))
    assert len(kept) == 10
    assert all((Path("lists") / row["image"]).is_file() for row in kept)
    again = ["--train", "lists/kept.csv", "--meta", "checked", "--out", "again"]
    assert main(["train", *quick, *again]) == 0


def test_sentences_and_pairs_stay_what_they_are(here: Path, capsys: Capsys) -> None:
    files = tiny_translation.own_files(here)
    options = tiny_translation.flags(teacher="memory")
    assert main([*tiny_translation.TRAIN, *options, *tiny_translation.own(files), "--out", "run"]) == 0
    pairs = tiny_translation.pairs(100, 120)
    tiny_translation.write(Path("new.tsv"), pairs)
    for side in (0, 1):
        Path(f"new.{side}").write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8")
    assert curate("new.tsv", "kept.tsv", keep="0.5") == 0
    assert curate("new.0,new.1", "kept.0,kept.1", keep="0.5") == 0
    lines = Path("kept.tsv").read_text(encoding="utf-8").splitlines()
    sides = [Path(f"kept.{side}").read_text(encoding="utf-8").splitlines() for side in (0, 1)]
    assert lines == ["\t".join(pair) for pair in zip(*sides, strict=True)]
    assert len(lines) == 10
    assert "kept 10 of 20 rows (50.0%): kept.tsv" in words(capsys)
    tiny_texts.write_bio(Path("train.bio"), tiny_texts.sentences(60, 0, (3, 10, 11)))
    tiny_texts.write_bio(Path("meta.bio"), tiny_texts.sentences(20, 1000))
    new = tiny_texts.sentences(10, 2000)
    text = tiny_texts.write_bio(Path("new.bio"), new).read_text(encoding="utf-8")
    quick = [*tiny_texts.QUICK, "--model-options", "width=16", "--out", "tagged"]
    assert main(["train", *quick, "--train", "train.bio", "--meta", "meta.bio"]) == 0
    assert main(["curate", "new.bio", "--rater", "tagged", "--keep", "0.3", "--out", "kept.bio"]) == 0
    blocks = Path("kept.bio").read_text(encoding="utf-8").split("\n\n")[:-1]
    assert len(blocks) == 3
    assert all(f"{block}\n\n" in text for block in blocks)


@pytest.mark.parametrize(
    ("new", "out", "keep", "text"),
    [
        (
            "new.csv",
            "kept.jsonl",
            "0.6",
            "rows are written as new.csv has them: choose a name that ends in .csv",
        ),
        ("new.csv", "kept.csv.gz", "0.6", "rows are written unpacked: leave out .gz"),
        ("new.csv", "new.csv", "0.6", "new.csv exists: choose another file with --out"),
        ("new.csv", "kept.csv", "60", "keep is a share of the rows, above 0 and at most 1, got 60"),
        ("hf:some/rows", "kept.csv", "0.6", "hf:some/rows is no file that kept rows could be written like"),
        ("a.de,a.en", "kept.de", "0.6", "a.de,a.en is two files, so --out is two as well"),
    ],
)
def test_mistakes_say_how_to_mend_them(new: str, out: str, keep: str, text: str, capsys: Capsys) -> None:
    Path("new.csv").write_text("x\n")
    assert curate(new, out, keep=keep) == 2
    assert text in words(capsys)


def test_the_share_is_that_of_the_highest_and_ties_go_to_the_first() -> None:
    weights = torch.tensor([1.0, 2.0, 1.0, 1.0, 0.5])
    assert [chosen(weights, share).tolist() for share in (0.4, 0.6, 0.01)] == [[0, 1], [0, 1, 2], [1]]
    assert most(weights, 4).tolist() == [0, 1, 2, 3]
    assert counts_of(0.5, [19, 21]) == [10, 10]
    assert counts_of(0.6, [10, 1, 4]) == [6, 1, 2]
    assert counts_of(0.1, [3, 100, 3]) == [1, 10, 1]
    assert [count_of(0.5, rows) for rows in (1, 3, 4)] == [1, 2, 2]
    each = chosen(torch.tensor([5.0, 4.0, 3.0, 0.1, 0.2]), 0.5, classes=[0, 0, 0, 7, 7])
    assert each.tolist() == [0, 1, 4]


@pytest.mark.slow
def test_draws_have_the_probabilities_of_the_weights() -> None:
    """Two of three without putting back: the chance of each pair in closed form."""
    weights, times = torch.tensor([1.0, 2.0, 5.0, 0.0]), 20_000
    generator = torch.Generator().manual_seed(0)
    counts = Counter(tuple(drawn(weights, 2, generator).tolist()) for _ in range(times))
    p = (weights / weights.sum()).tolist()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        chance = p[one] * p[other] / (1 - p[one]) + p[other] * p[one] / (1 - p[other])
        spread = math.sqrt(chance * (1 - chance) / times)
        assert abs(counts[(one, other)] / times - chance) < 4 * spread
    assert sum(counts.values()) == times
    assert set(counts) == {(0, 1), (0, 2), (1, 2)}
    assert len(drawn(weights, 4, generator)) == 3
    assert {tuple(drawn(torch.zeros(3), 2, generator).tolist()) for _ in range(50)} == set(counts)


def test_a_table_of_pictures_is_written_where_its_paths_begin(here: Path, capsys: Capsys) -> None:
    train = write("csv", here / "pictures", range(40), spoilt(range(40)))
    write_folder(Path("checked"), range(40, 48), right(range(40, 48)))
    quick = ["--epochs", "2", "--warmup-epochs", "1", "--batch-size", "20", "--model-options", "width=4"]
    own = ["--label", "what it shows", "--meta", "checked", "--out", "run"]
    assert main(["train", *quick, "--train", train, *own]) == 0
    write("csv", here / "new", range(60, 80), right(range(60, 80)))
    assert curate("new/list.csv", "kept.csv") == 2
    assert "paths in new/list.csv begin at its folder: choose --out in that folder" in words(capsys)
    assert curate("new/list.csv", "new/kept.csv") == 0
    kept = [row["photograph"] for row in read_csv(Path("new/kept.csv"))]
    assert len(kept) == 12
    assert sorted(kept, key=lambda path: int(Path(path).stem)) == kept
    assert set(kept) <= {f"files/{number}.bmp" for number in range(60, 80)}
