"""The page as text: what stands in it, that all data is escaped, and how large it gets."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from grid_folders import make_grid

from metaweight.cli.main import main
from metaweight.report.charts.panel import COLOURS, KINDS
from metaweight.report.charts.svg import VARIABLES
from metaweight.report.page import read_study, render, write_page
from metaweight.tasks.config import TranslationConfig
from metaweight.training.run_folder import RunFolder

EVIL = "<script>alert(1)<!--"
VOID = {"meta", "link", "img", "br", "hr", "input", "path", "line", "circle"}


class Outline(HTMLParser):
    """Tags in order, that each is closed, and the text of each <script>."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        else:
            self.text += data


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    found.close()
    assert found.open == []
    return found


def ids(found: Outline) -> list[str]:
    return [a["id"] for t, a in found.tags if t == "section" and a.get("id")]  # type: ignore[misc]


def test_sections_stand_in_this_order(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid")
    found = outline(render(read_study(tmp_path / "grid")))
    sections = [
        *("answer", "table", "curves", "weights", "loss", "fates", "attention", "cost", "samples", "words"),
        "origin",
    ]
    assert ids(found) == sections
    linked = [a["href"] for t, a in found.tags if t == "a" and a["href"] != "#answer"]
    assert linked == [f"#{name}" for name in sections[1:]]


def test_nothing_is_fetched(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid")
    for tag, attributes in outline(render(read_study(tmp_path / "grid"))).tags:
        for name in ("src", "href", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), f"<{tag} {name}={value}>"


def test_a_grid_that_has_nothing_yet_is_a_page(tmp_path: Path) -> None:
    grid = make_grid(tmp_path / "grid", missing=[])
    names = [cell.name for cell in grid.cells()]
    make_grid(tmp_path / "empty", missing=names)
    found = outline(render(read_study(tmp_path / "empty")))
    assert "No run of this grid is finished yet" in found.text
    assert "2 missing" in found.text
    assert ids(found) == ["answer", "table", "words", "origin"]


def test_names_and_errors_that_look_like_tags_stay_text(tmp_path: Path) -> None:
    evil = f"uniform-0.4.{EVIL}.1"
    make_grid(tmp_path / EVIL, ("uniform", EVIL), failed=[evil], error="</script></style>&")
    found = outline(render(read_study(tmp_path / EVIL)))
    assert EVIL in found.text
    assert "RuntimeError: </script></style>&" in found.text
    readouts = [json.loads(text) for text in found.scripts[:-1]]
    assert [arm["name"] for arm in readouts[0]["arms"]] == ["uniform", EVIL]
    assert len(found.scripts) == 2
    assert "alert(1)" not in found.scripts[-1]


def test_sentences_that_look_like_tags_stay_text(tmp_path: Path) -> None:
    base = TranslationConfig(epochs=3)
    grid = make_grid(tmp_path / "grid", ("uniform", "mw-net"), seeds=(0,), base=base, noises=("mixed@0.4",))
    rows = "".join(f'{i},0.1,copied,"{EVIL} {i}",</script>{i}\n' for i in range(60))
    for cell in grid.cells():
        path = tmp_path / "grid" / "cells" / cell.name / "pairs.csv"
        path.write_text(f"index,mean_weight,kind,source,target\n{rows}")
    found = outline(render(read_study(tmp_path / "grid")))
    shown = re.findall(r"</script>(\d+)", found.text)
    assert len(shown) == 24
    assert all(f"{EVIL} {index}" in found.text for index in shown)
    assert len(found.scripts) == 2


def test_missing_sentences_are_told(tmp_path: Path) -> None:
    base = TranslationConfig(epochs=3)
    make_grid(tmp_path / "grid", ("uniform", "mw-net"), seeds=(0,), base=base, noises=("mixed@0.4",))
    assert "pairs.csv is not in the run" in outline(render(read_study(tmp_path / "grid"))).text


def test_damaged_weights_are_told(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid", seeds=(0,))
    (tmp_path / "grid" / "cells" / "uniform-0.4.mw-net.0" / "weights.npz").write_bytes(b"PK torn")
    text = outline(render(read_study(tmp_path / "grid"))).text
    assert "weights.npz of uniform-0.4.mw-net.0 cannot be read" in text


def test_a_hundred_thousand_samples_make_a_small_page(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid", ("uniform", "mw-net"), seeds=(0,), samples=100_000)
    assert len(render(read_study(tmp_path / "grid")).encode()) < 500_000


@pytest.mark.slow
def test_many_charts_make_a_small_page_without_an_id_twice(tmp_path: Path) -> None:
    arms = ("uniform", "attention", *(f"arm-{n}" for n in range(4)))
    noises = ("uniform@0.4", "flip@0.2", "cluster@0.8")
    make_grid(tmp_path / "grid", arms, noises=noises, seeds=(0,), samples=3_000)
    page = render(read_study(tmp_path / "grid"))
    tags = outline(page).tags
    assert sum(t == "svg" and a["class"] == "chart" for t, a in tags) == 39
    assert len(page.encode()) < 2_000_000
    named = [a["id"] for _, a in tags if a.get("id")]
    assert len(set(named)) == len(named)


def test_a_page_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid")
    assert render(read_study(tmp_path / "grid")) == render(read_study(tmp_path / "grid"))


def test_own_report_is_written_anew_and_nothing_else(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid", seeds=(0,))
    own = write_page(read_study(tmp_path / "grid"))
    assert own == tmp_path / "grid" / "report.html"
    own.write_text("old")
    assert write_page(read_study(tmp_path / "grid")).read_text() != "old"
    other = tmp_path / "mine.html"
    other.write_text("mine")
    with pytest.raises(FileExistsError, match="is there already"):
        write_page(read_study(tmp_path / "grid"), other)
    with pytest.raises(FileExistsError, match="name the file"):
        write_page(read_study(tmp_path / "grid"), tmp_path)
    assert other.read_text() == "mine"
    assert write_page(read_study(tmp_path / "grid"), tmp_path / "new" / "page.html").is_file()


def test_command_writes_the_page_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_grid(tmp_path / "grid", seeds=(0,))
    assert main(["report", str(tmp_path / "grid")]) == 0
    assert str(tmp_path / "grid" / "report.html") in capsys.readouterr().out.replace("\n", "")
    assert (tmp_path / "grid" / "report.html").is_file()


def test_command_refuses_what_is_no_run_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("metaweight: ")
    assert "no run folder" in error
    assert "Traceback" not in error
    RunFolder.create(tmp_path / "speed", {"config": {"rounds": 5}})
    assert main(["report", str(tmp_path / "speed")]) == 2
    assert "neither a run nor a grid" in capsys.readouterr().err
    assert not (tmp_path / "speed" / "report.html").exists()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_the_contrast_of_wcag_aa(theme: str) -> None:
    """4.5 for text, 3 for lines, on both grounds; the formulas are those of WCAG 2.2."""
    css = (Path(__file__).parents[2] / "metaweight/report/page/templates/report.css").read_text()
    block = (
        css.split("}")[0]
        if theme == "light"
        else re.findall(r'\[data-theme="dark"\] \{(.*?)\}', css, re.S)[0]
    )
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", block))

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(one: str, other: str) -> float:
        a, b = sorted((luminance(colours[one]), luminance(colours[other])))
        return (b + 0.05) / (a + 0.05)

    for ground in ("paper", "raised"):
        for name in ("ink", "soft", "link", "clean", "flipped"):
            assert contrast(name, ground) >= 4.5, (name, ground)
        for number in range(8):
            assert contrast(f"s{number}", ground) >= 3, (number, ground)
    assert contrast("mark-ink", "mark") >= 4.5


def test_charts_are_drawn_in_the_colours_of_the_style_sheet() -> None:
    """Those of light ground; two names of one colour there are one in the dark as well."""
    css = (Path(__file__).parents[2] / "metaweight/report/page/templates/report.css").read_text()
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in css.split("}")[:2])
    for colour, variable in VARIABLES.items():
        if colour != "none":
            assert light[variable.removeprefix("var(--").removesuffix(")")] == colour
    drawn = {**KINDS, **{f"s{number}": colour for number, colour in enumerate(COLOURS)}}
    drawn["ink"] = drawn.pop("all")
    for one, other in itertools.combinations(drawn, 2):
        if drawn[one] == drawn[other]:
            assert dark[one] == dark[other]


def test_dark_by_system_and_by_button_are_the_same_colours() -> None:
    css = (Path(__file__).parents[2] / "metaweight/report/page/templates/report.css").read_text()
    system, button = (
        re.findall(pattern, css, re.S)[0].split()
        for pattern in (r':not\(\[data-theme="light"\]\) \{(.*?)\}', r':root\[data-theme="dark"\] \{(.*?)\}')
    )
    assert system == button
