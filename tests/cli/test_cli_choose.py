"""`metaweight choose-trusted`: rows to be checked are the user's rows, and come back as trusted ones."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile_text import HOSTILE
from tiny_rows import QUICK, rows, write

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv


def said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def test_a_sample_is_even_and_goes_back_as_trusted_rows(tmp_path: Path) -> None:
    table = rows(120, 0)
    for row in table[:70]:
        row["kind"] = "cat"
    train = write(tmp_path / "data.csv", table)
    head, *lines = train.read_text().splitlines()
    train.write_text("\n".join([head, "", *lines[:30], "", "", *lines[30:]]) + "\n")
    out = tmp_path / "trusted.csv"
    assert main(["choose-trusted", str(train), "--label", "kind", "--size", "30", "--out", str(out)]) == 0
    chosen = read_csv(out)
    assert Counter(row["kind"] for row in chosen) == {"cat": 15, "dog": 15}
    whole = ["", *train.read_text().splitlines()]
    for row in chosen:
        assert whole[int(row["row"])] == ",".join(row[name] for name in ("x", "y", "colour", "kind"))
    run = tmp_path / "run"
    command = ["train", "--task", "tabular", "--train", str(train), "--label", "kind", "--meta", str(out)]
    assert main([*command, *QUICK, "--out", str(run)]) == 0
    left = {row["row"]: row["reason"] for row in read_csv(run / "left_out.csv")}
    assert left.keys() == {row["row"] for row in chosen}
    assert left[chosen[0]["row"]] == f"it is trusted: {out}, line 2"
    weighed = {row["row"] for row in read_csv(run / "weights.csv")}
    assert len(weighed) == 90
    assert not weighed & left.keys()


def test_the_message_is_a_command_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside columns called like ours, of a class with few rows, from a folder with a space in its name."""
    folder = tmp_path / "my data"
    folder.mkdir()
    table = [{**row, "file": "data.csv", "row": "2"} for row in rows(60, 0)]
    for row in table[:3]:
        row["kind"] = "bird"
    data = write(folder / "data.parquet", table)
    out = folder / "trusted.csv"
    assert main(["choose-trusted", str(data), "--label", "kind", "--size", "25", "--out", str(out)]) == 0
    told = said(capsys)
    assert "but 2 of the 3 of 'bird'" in told
    command = shlex.split(told.partition("Then: metaweight ")[2])
    run = tmp_path / "run"
    assert main([*command, *QUICK, "--out", str(run)]) == 0
    chosen = read_csv(out)
    assert [row["from_row"] for row in chosen] == [row["row"] for row in read_csv(run / "left_out.csv")]
    for row in chosen:
        given = table[int(row["from_row"]) - 1]
        assert {name: row[name] for name in given} == given


class Page(HTMLParser):
    """What a page holds of scripts, elements and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags[tag] += 1

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_holds_every_row_and_hostile_text_stays_text(tmp_path: Path) -> None:
    plain = [{"text": f"row {n}", "label": "ab"[n % 2]} for n in range(len(HOSTILE))]
    hostile = [{**row, "text": text} for row, text in zip(plain, HOSTILE, strict=True)]
    pages = {}
    for name, table in (("plain", plain), ("hostile", hostile)):
        data = tmp_path / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in table))
        arguments = [
            "--task",
            "text",
            "--size",
            f"{len(HOSTILE) - 2}",
            "--out",
            str(tmp_path / f"{name}-trusted.csv"),
        ]
        assert main(["choose-trusted", str(data), *arguments]) == 0
        pages[name] = (tmp_path / f"{name}-trusted.html").read_text(encoding="utf-8")
    assert Page(pages["plain"]).tags == Page(pages["hostile"]).tags
    kept = re.search(r'<script type="application/json" id="data">(.*?)</script>', pages["hostile"], re.S)
    assert kept is not None
    data = json.loads(kept[1])
    assert len(data["rows"]) == len(HOSTILE) - 2
    assert data["header"][data["label"]] == "label"


def test_numbers_pairs_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = write(tmp_path / "n.csv", [{**row, "kind": row["x"]} for row in rows(100, 0)])
    out = tmp_path / "n-trusted.csv"
    assert main(["choose-trusted", str(numbers), "--label", "kind", "--size", "20", "--out", str(out)]) == 0
    values = sorted(float(row["kind"]) for row in read_csv(out))
    whole = sorted(float(row["x"]) for row in rows(100, 0))
    assert [sum(whole[10 * k] <= value <= whole[10 * k + 9] for value in values) for k in range(10)] == [
        2
    ] * 10
    text = "a sentence that is long enough to be one "
    pairs = write(tmp_path / "p.tsv", [{"de": f"{text}{n}", "en": f"{text}{n}!"} for n in range(30)])
    out = tmp_path / "p-trusted.csv"
    assert main(["choose-trusted", str(pairs), "--size", "5", "--out", str(out)]) == 0
    assert f"--train {pairs} --meta {out} --overlap drop --valid OTHER" in said(capsys)
    assert all(row["target"] == f"{row['source']}!" for row in read_csv(out))
    from PIL import Image

    for kind in ("cat", "dog"):
        for n in range(8):
            (tmp_path / "pictures" / kind).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (n, 0, 0)).save(tmp_path / "pictures" / kind / f"{n}.png")
    out = tmp_path / "i-trusted.csv"
    assert main(["choose-trusted", str(tmp_path / "pictures"), "--size", "6", "--out", str(out)]) == 0
    chosen = read_csv(out)
    assert Counter(row["label"] for row in chosen) == {"cat": 3, "dog": 3}
    assert all(Path(row["picture"]).parent.name == row["label"] for row in chosen)
    assert out.with_suffix(".html").read_text().count("data:image/png;base64") == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--label", "knid"], "has no column 'knid'. Did you mean 'kind'"),
        (
            ["--label", "kind", "--size", "0"],
            "of 60 rows 58 can be drawn, as one of each class stays to train on; asked for 0",
        ),
        (["--label", "kind", "--size", "59"], "asked for 59"),
        ([], "which column holds the labels?"),
        (["--label", "kind", "--out", "trusted.html"], "choose a name that ends in .csv"),
        (["--label", "kind", "--task", "txt"], "unknown task 'txt'. Did you mean 'text'"),
        (["--task", "tokens"], "holds a label a token"),
        (["--label", "kind", "--out", "data.csv"], "data.csv exists: choose another file with --out"),
    ],
)
def test_mistakes_leave_nothing(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data.csv", rows(60, 0))
    assert main(["choose-trusted", "data.csv", *arguments]) == 2
    assert message in said(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_a_table_of_pictures_keeps_the_names_of_its_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    table = []
    for number in range(40):
        path = tmp_path / f"{number}.png"
        Image.new("L", (8, 8), 6 * number).save(path)  # no two are the same
        table.append({"scan": path.name, "who": f"w{number}", "kind": ("cat", "dog")[number % 2]})
    data, out = write(tmp_path / "scans.csv", table), tmp_path / "trusted.csv"
    assert main(["choose-trusted", str(data), "--label", "kind", "--size", "8", "--out", str(out)]) == 0
    command = shlex.split(said(capsys).partition("Then: metaweight ")[2])
    for row in read_csv(out):
        given = table[int(row["row"]) - 2]
        assert (Path(row["picture"]), row["kind"]) == (tmp_path / given["scan"], given["kind"])
    run = tmp_path / "run"
    quick = ["--epochs", "1", "--warmup-epochs", "0", "--batch-size", "16", "--meta-batch-size", "8"]
    assert main([*command, *quick, "--threads", "1", "--out", str(run)]) == 0
    assert {row["row"] for row in read_csv(run / "left_out.csv")} == {row["row"] for row in read_csv(out)}
