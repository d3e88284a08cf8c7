"""The gallery: every picture is listed, kept, shown and small; what draws them draws what it is given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from docs.pictures import attention, cost, finds, influence, over_time
from docs.pictures.__main__ import main
from docs.pictures.cards import Card, worst_cards
from docs.pictures.catalogue import GALLERY, PICTURES
from docs.pictures.page import (
    BYTES,
    PIXELS,
    SMALL,
    WIDTH,
    Page,
    balanced,
    in_few_colours,
    length,
    shortened,
    wrapped,
)
from docs.pictures.rows import Column, Row, worst_rows
from docs.pictures.runs import lowest, share_wrong
from metaweight.report.charts.panel import style
from metaweight.training.sample_weights import SampleWeights

DOCS = GALLERY.parents[1]


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with style():
        yield


def test_each_picture_is_listed_kept_and_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert main(["--list"]) == 0
    names = capsys.readouterr().out.split()
    assert names == list(PICTURES)
    assert re.findall(r"\{figure\} static/gallery/(.+)\.png$", text, re.M) == names
    assert re.findall(r"^python -m docs\.pictures (\S+)$", text, re.M) == names
    assert sorted(path.stem for path in GALLERY.iterdir()) == sorted(names)
    assert len(re.findall(r"^:alt: \S.{20,}$", text, re.M)) == len(names)


@pytest.mark.parametrize("name", PICTURES)
def test_a_kept_picture_is_small_and_as_wide_as_all(name: str) -> None:
    path = GALLERY / f"{name}.png"
    assert path.stat().st_size <= BYTES
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.width == WIDTH * PIXELS
        assert image.height <= 2 * image.width


def test_an_unknown_picture_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worst-digit"]) == 2
    assert "worst-digits" in capsys.readouterr().err


def test_the_letters_can_be_read_on_a_telephone() -> None:
    assert SMALL * 390 / WIDTH >= 10


def test_lines_fit_and_lose_nothing() -> None:
    text = "Below each picture: the label it came with, then the one that is suggested for it"
    lines = wrapped(text, 13, 200)
    assert " ".join(lines) == text
    assert len(lines) > 1
    assert max(length(line, 13) for line in lines) <= 200
    even = balanced(text, 13, 200)
    assert " ".join(even) == text
    assert len(even) == len(lines)
    assert max(length(line, 13) for line in even) <= max(length(line, 13) for line in lines)
    short = shortened(text, 13, 200)
    assert length(short, 13) <= 200
    assert short.endswith("…")
    assert text.startswith(short[:-1])
    assert shortened("short", 13, 200) == "short"


def test_colours_of_charts_stay_as_they_are() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    pixels[:20] = (0xFB, 0xFA, 0xF7)  # paper
    pixels[20:25] = (0xC0, 0x4A, 0x00)  # wrong labels
    few = in_few_colours(Image.fromarray(pixels))
    back = np.asarray(few.convert("RGB"))
    assert (back[:25] == pixels[:25]).all()
    assert len(np.unique(back.reshape(-1, 3), axis=0)) <= 64
    far = np.abs(back[25:].astype(int) - pixels[25:]).mean()
    assert far < 30  # of 64 colours for noise


def words(page: Page) -> list[str]:
    """All that is written on a page, charts included."""
    return [text.get_text() for axes in page.figure.axes for text in axes.texts]


def inside(page: Page) -> bool:
    """Whether no text leaves the page."""
    page.figure.canvas.draw()
    boxes = [text.get_window_extent() for axes in page.figure.axes for text in axes.texts if text.get_text()]
    whole = page.figure.bbox
    return all(b.x0 >= 0 and b.x1 <= whole.x1 and b.y0 >= 0 and b.y1 <= whole.y1 for b in boxes)


def samples(epochs: int = 4, count: int = 40) -> SampleWeights:
    """Every fourth label is wrong, and weighs less the later it is."""
    flipped = torch.arange(count) % 4 == 0
    weights = torch.ones(epochs, count) + 0.3 * ~flipped
    weights[1:, flipped] = torch.linspace(0.5, 0.1, int(flipped.sum()))
    given = torch.arange(count) % 3
    return SampleWeights(
        index=torch.arange(count) + 100,
        weights=weights,
        loss=torch.ones(epochs, count),
        given=given,
        clean=torch.where(flipped, (given + 1) % 3, given),
        flipped=flipped,
        probabilities=torch.eye(3)[(given + flipped) % 3],
        warmup=1,
    )


def test_the_lowest_weights_come_in_order_with_their_labels() -> None:
    rows = lowest(samples(), 12)
    assert [row.index for row in rows] == [*range(136, 99, -4), 101, 102]
    assert [row.wrong for row in rows] == [True] * 10 + [False] * 2
    assert all((row.given != row.suggested) == row.wrong for row in rows)
    assert share_wrong(samples()) == "25 %"


def test_cards_say_how_many_are_wrong() -> None:
    pixels = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)
    page = worst_cards([Card(pixels, "4 → 9", place != 5) for place in range(8)], "Digits.")
    assert inside(page)
    assert " ".join(words(page)).startswith("7 of the 8 lowest weights are wrong labels Digits.")
    assert {"the label is wrong: 7", "the label is right: 1"} <= {*words(page)}
    assert words(page).count("✗") == 8  # and in the legend
    assert page.png() == page.png()


def test_rows_are_cut_to_their_columns() -> None:
    rows = [Row(("a very long question " * 9,), True, f"asks for {what}") for what in ("a thing", "a place")]
    page = worst_rows([*rows, Row(("short?",), True, "asks for a person")], (Column("", 1),), "Questions.")
    assert inside(page)
    said = words(page)
    assert " ".join(said).startswith("The 3 lowest weights are all wrong labels")
    first = said.index("asks for a thing")
    assert said[first - 1].endswith("…")  # the second of two lines
    assert said[first - 2].startswith("a very long question")
    assert said[said.index("asks for a person") - 1] == "short?"
    columns = (Column("exam", 1, right=True), Column("note", 3))
    page = worst_rows([Row(("95", "cheated"), True), Row(("5", ""), False)], columns, "Grades.", noun="grade")
    assert inside(page)
    assert {"exam", "note", "95", "cheated", "the grade is wrong: 1"} <= {*words(page)}


def test_influences_put_the_most_harmful_first() -> None:
    pixels = np.zeros((8, 8), np.uint8)
    cards = [Card(pixels, f"“{place}”", place < 5) for place in range(20)]
    page = influence.draw(influence.Influences(cards, np.linspace(-1, 1, 20)))
    assert inside(page)
    said = [text for text in words(page) if text.startswith("“")]
    assert said == [f"“{place}”" for place in (0, 1, 2, 3, 4, 5, 19, 18, 17, 16, 15, 14)]
    assert "5 of the 6 most harmful samples have wrong labels, none of the most helpful" in " ".join(
        words(page)
    )


def test_dots_of_a_swarm_do_not_touch() -> None:
    x = np.random.default_rng(0).normal(size=60) * 30
    heights = influence.stacked(x, 9.0)
    apart = np.hypot(x[:, None] - x, heights[:, None] - heights) + 100 * np.eye(60)
    assert apart.min() >= 9.0 - 1e-9


def test_weights_over_time_are_means_and_quartiles() -> None:
    own = samples()
    quartiles = over_time.by_epoch(own, "flipped")
    assert quartiles.median == pytest.approx(own.weights[:, own.flipped].mean(dim=1).numpy())
    assert quartiles.low[2] < quartiles.median[2] < quartiles.high[2]
    page = over_time.draw({"auto": own, "l2rw": own})
    assert inside(page)
    assert "0.30" in " ".join(words(page))


def test_attention_names_the_layer_most_looked_at() -> None:
    shares = {"flipped": np.array([[0.3, 0.7], [0.2, 0.8]]), "clean": np.array([[0.5, 0.5], [0.6, 0.4]])}
    page = attention.draw(attention.Attention(("block1", "hidden"), shares))
    assert inside(page)
    assert "hidden" in " ".join(words(page))
    assert "80%" in " ".join(words(page))


def test_histograms_say_the_least_area() -> None:
    flipped = torch.tensor([True, True, False, False])
    found = finds.Found(torch.tensor([0.1, 0.2, 1.0, 1.5]), flipped)
    half = finds.Found(torch.tensor([0.1, 1.2, 1.0, 1.5]), flipped)
    page = finds.draw({"easy": found, "hard": half})
    assert inside(page)
    assert "75 of 100" in " ".join(words(page))


def test_engines_are_read_from_a_kept_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(
        "variant,ratio_of_medians,deviation_float64\n"
        'plain step,1.0,\n"forward, lookahead",3.5,2e-16\n"forward, online",3.0,2e-16\n'
        '"forward, lookahead, meta 25",2.0,2e-16\n"auto, lookahead",3.5,2e-16\nbetty-sama,3.7,2.3\n'
        '"ghost, lookahead",,\n"difference, lookahead",3.2,\n'
    )
    engines = cost.read(path)
    assert [(engine.name, engine.exact) for engine in engines] == [("forward", True), ("Betty, SAMA", False)]
    page = cost.draw(engines, "a net")
    assert inside(page)
    assert {"forward  3.5", "Betty, SAMA  3.7", "230% off"} <= {*words(page)}


def test_the_kept_table_still_has_both_kinds() -> None:
    engines = cost.read(cost.KEPT / cost.FOLDER / "table.csv")
    assert {engine.exact for engine in engines} == {True, False}
