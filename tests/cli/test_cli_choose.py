"""`metaweight choose-trusted`: rows to be checked are the user's rows, and come back as trusted ones."""

from __future__ import annotations

import json
import re
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
        arguments = ["--task", "text", "--out", str(tmp_path / f"{name}-trusted.csv")]
        assert main(["choose-trusted", str(data), *arguments]) == 0
        pages[name] = (tmp_path / f"{name}-trusted.html").read_text(encoding="utf-8")
    assert Page(pages["plain"]).tags == Page(pages["hostile"]).tags
    kept = re.search(r'<script type="application/json" id="data">(.*?)</script>', pages["hostile"], re.S)
    assert kept is not None
    data = json.loads(kept[1])
    assert len(data["rows"]) == len(HOSTILE)
    assert data["header"][data["label"]] == "label"


def test_numbers_pairs_and_pictures(tmp_path: Path) -> None:
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
    assert all(row["en"] == f"{row['de']}!" for row in read_csv(out))
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
        (["--label", "kind", "--size", "0"], "has 60 rows with a label, asked for 0"),
        (["--label", "kind", "--size", "61"], "asked for 61"),
        ([], "which column holds the labels?"),
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
