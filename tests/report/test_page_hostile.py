"""Whatever text samples, files and arms have, the page shows it as text and holds together."""

from __future__ import annotations

import itertools
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from grid_folders import make_grid
from hostile_text import HOSTILE, text
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from metaweight.cli.main import main
from metaweight.core.csv_text import write_csv
from metaweight.core.shown import shown
from metaweight.data.origins import COLUMNS, Origins
from metaweight.report import publication
from metaweight.report.page import document, read_study, render
from metaweight.report.troubles import Troubles
from metaweight.tasks.config import TranslationConfig
from metaweight.training.run_folder import RunFolder

VOID = ("meta", "link", "img", "br")
ARM = "a'\"><b>[x]|`\x1b[2J\u202e<script>&amp;\n" + "n" * 100
SENTENCES = TranslationConfig(epochs=2)


class Page(HTMLParser):
    """Each element's own text, in order, and that of scripts; every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, int]] = []
        self.scripts: list[str] = []
        self.texts: list[list[str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {name for name, _ in attrs if name.startswith("on")}
        self.texts.append([f"{tag}.{dict(attrs).get('class') or ''}"])
        if tag not in VOID:
            self.open.append((tag, len(self.texts) - 1))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            tag, place = self.open[-1]
            self.texts[place].append(data)
            if tag == "script":
                self.scripts.append(data)

    def of(self, name: str) -> list[str]:
        return ["".join(text) for element, *text in self.texts if element == name]


def put_pairs(
    place: Path, sentences: list[tuple[str, str]], names: list[str], *, file: str = "train.tsv"
) -> None:
    """Weights that rise with the index, and pairs.csv, of ``sentences``."""
    size = len(sentences)
    rising = torch.linspace(1e-12, 1, size).expand(2, size)
    origins = Origins.of(file, range(2, size + 2), names=names, unit="line")
    RunFolder(place).save_weights(index=torch.arange(size), weights=rising, loss=rising, origins=origins)
    rows = [
        (*origin.cells, index, 0.5, "", *pair)
        for index, (origin, pair) in enumerate(zip(origins, sentences, strict=True))
    ]
    write_csv(place / "pairs.csv", (*COLUMNS, "index", "mean_weight", "kind", "source", "target"), rows)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "<i>&'\" grid"
    make_grid(folder, ("uniform", ARM), seeds=(0,), base=SENTENCES, noises=("none",))
    return folder


def own(grid: Path) -> Path:
    (place,) = (path for path in (grid / "cells").iterdir() if ".uniform." not in path.name)
    return place


@settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
@given(st.lists(st.tuples(text, text, text), min_size=2, max_size=6), st.sampled_from(HOSTILE[1:]))
def test_sentences_and_names_stand_in_the_page_as_text(
    grid: Path, rows: list[tuple[str, str, str]], file: str
) -> None:
    put_pairs(own(grid), [row[:2] for row in rows], [row[2] for row in rows], file=file)
    found = Page(render(read_study(grid)))
    pairs = [(shown(source), shown(target)) for source, target, _ in rows if source or target]
    assert list(zip(found.of("p.sentence"), found.of("p.sentence target"), strict=True)) == pairs
    expected = [
        f"{file}, line {n}" + (f" ({row[2]})" if row[2] else "") for n, row in enumerate(rows, start=2)
    ]
    assert found.of("span.place") == [shown(place) for place in expected]
    assert found.of("span.index") == [f"#{index}" for index in range(len(rows))]
    assert "".join(found.scripts).count("use strict") == 1


def test_an_arm_of_any_name_is_drawn_and_read_back(grid: Path) -> None:
    put_pairs(own(grid), [("a", "b"), ("c", "d")], ["", "x" * 200])
    page = render(read_study(grid))
    found, troubles = Page(page), Troubles()
    assert shown(ARM) in found.of("span.")  # of the table and the legend
    readout = json.loads(found.scripts[0])
    assert [arm["name"] for arm in readout["arms"]] == ["uniform", shown(ARM)]
    assert not set(page) & set(map(chr, itertools.chain(range(9), range(14, 32), [0x202E, 0x7F])))
    assert render(read_study(grid), troubles) == page
    assert troubles.found == []
    assert "1.0e-12" in page  # a weight that is small is not none


def test_every_file_of_a_comparison_with_such_an_arm_is_written(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (grid / "cells").iterdir():
        for name in ("hypothesis.txt", "reference.txt"):
            (place / name).write_text("a b c d\n", encoding="utf-8")
    put_pairs(own(grid), [("a", "b"), ("c", "d")], ["", ""])
    code = main(["report", str(grid)])
    said = capsys.readouterr()
    # these results were made without scores, and so without their signatures
    assert (code, said.err.count("could not be drawn")) == (2, 1), said.err
    assert "\x1b[2J" not in said.out
    assert {"table.md", "table.csv", "runs.csv", "statistics.csv", "report.html"} <= {
        p.name for p in grid.iterdir()
    }
    assert len(list((grid / "plots").glob("weight_against_loss.*"))) == 1


def test_a_damaged_list_of_pairs_is_told_and_the_rest_is_there(grid: Path) -> None:
    put_pairs(own(grid), [("a", "b"), ("c", "d")], ["", ""])
    path = own(grid) / "pairs.csv"
    path.write_bytes(path.read_bytes() + b'torn,"')
    assert "No sentences: pairs.csv cannot be read" in render(read_study(grid))
    path.write_bytes(b"\xff\xfe")
    assert "No sentences: pairs.csv cannot be read" in render(read_study(grid))


def test_a_chart_that_cannot_be_drawn_leaves_a_page_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "grid"
    make_grid(folder, seeds=(0,))
    whole = Page(render(read_study(folder)))

    def broken(_: object) -> None:
        raise RuntimeError("no fonts <here>")

    monkeypatch.setattr(document, "svg", broken)
    monkeypatch.setattr(document, "cost_panels", broken)
    monkeypatch.setattr(publication, "write_plots", lambda *_: None)
    assert main(["report", str(folder)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "the page's charts of cost could not be drawn: RuntimeError: no fonts <here>" in said
    assert said.endswith("everything else is written")
    text = (folder / "report.html").read_text(encoding="utf-8")
    found = Page(text)
    assert "RuntimeError: no fonts <here>" in "".join(found.of("p.note"))
    assert found.of("svg.chart") == []
    assert "mw-net" in (folder / "table.md").read_text(encoding="utf-8")
    assert len(found.of("p.sentence")) == len(whole.of("p.sentence"))
    assert main(["report", str(folder), "--out", str(tmp_path / "own.html")]) == 2
    assert (tmp_path / "own.html").is_file()
