"""The page in headless Chromium, from file://: loads clean, sorts, fits a phone, follows light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM, look
from grid_folders import make_grid

from metaweight.report.page import read_study, render

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed to look at the page with")
LONG = "a-very-long-name-of-an-arm-with-many-options-and-no-end-in-sight"
ARMS = ("uniform", "mw-net", "attention", "<script>alert(1)<!--", LONG, *(f"arm-{n}" for n in range(6)))


SORTING = """
    const table = document.querySelector("table.sortable");
    const heads = [...table.querySelectorAll("thead th")];
    const column = heads.findIndex((head) => head.textContent.startsWith("difference"));
    const values = () => [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.value);
    const button = heads[column].querySelector("button");
    button.click();
    const up = [values(), heads[column].getAttribute("aria-sort")];
    button.click();
    const down = [values(), heads[column].getAttribute("aria-sort")];
    heads[1].querySelector("button").click();
    return {up, down, sorted: heads.filter((h) => h.hasAttribute("aria-sort")).length};
"""
CONTROLS = """
    const button = document.querySelector('[data-legend] button[data-arm="1"]');
    button.click();
    const marks = [...document.querySelectorAll('g.arm[data-arm="1"]')];
    const off = marks.map((mark) => getComputedStyle(mark).display);
    const stage = document.querySelector(".stage");
    const press = (key) => stage.dispatchEvent(new KeyboardEvent("keydown", {key, cancelable: true}));
    press("ArrowRight");
    const without = stage.parentElement.querySelector(".readout").textContent;
    button.click();
    press("ArrowLeft");
    const together = stage.parentElement.querySelector(".readout").textContent;
    const pick = document.getElementById("wall");
    pick.value = "3";
    pick.dispatchEvent(new Event("change"));
    const walls = [...document.querySelectorAll(".wall")].filter((wall) => wall.checkVisibility());
    return {off, pressed: button.getAttribute("aria-pressed"), without, together,
            walls: walls.map((wall) => wall.dataset.wall)};
"""
THEME = """
    const ground = () => getComputedStyle(document.body).backgroundColor;
    const button = document.getElementById("theme");
    const look = () => [ground(), button.textContent.trim().split(" ")[1]];
    const first = look();
    button.click();
    return [first, look()];
"""
CHARTS = """
    const charts = [...document.querySelectorAll("svg.chart")].filter((chart) => chart.checkVisibility());
    const texts = charts.flatMap((chart) => [...chart.querySelectorAll("text")]);
    const shown = (text) => text.getBoundingClientRect();
    return {charts: charts.length, wide: Math.max(...charts.map((chart) => shown(chart).width)),
            least: Math.min(...texts.map((text) => shown(text).height)),
            out: texts.filter((text) => shown(text).right > innerWidth || shown(text).left < 0).length,
            colours: [...new Set(texts.map((text) => getComputedStyle(text).fill))].sort()};
"""
FITS = """
    const boxes = [...document.querySelectorAll(".scroll")];
    return {inner: innerWidth, wide: document.documentElement.scrollWidth,
            boxes: boxes.filter((box) => box.scrollWidth > box.clientWidth).length};
"""
WORDS = """
    document.querySelectorAll(".cards dd").forEach((name) => { name.textContent = "automobile"; });
    const lines = (one) => {
        const range = document.createRange();
        range.selectNodeContents(one);
        return range.getClientRects().length;
    };
    return [...document.querySelectorAll(".cards dt, .cards dd")].filter((one) => one.checkVisibility())
        .map(lines);
"""
LOADED = """
    const requests = performance.getEntriesByType("resource").map((request) => request.name);
    return {requests: requests.filter((name) => !name.startsWith("data:")),
            address: location.protocol, js: document.documentElement.className,
            scripts: document.scripts.length,
            arms: [...document.querySelectorAll("#table tbody .name")].map((name) => name.textContent)};
"""
FOCUS = """
    const all = document.querySelectorAll("a, button, select, summary, [tabindex='0']");
    return [...all].filter((one) => one.checkVisibility()).map((one) => {
        one.focus({focusVisible: true});
        const style = getComputedStyle(one).outlineStyle;
        return [document.activeElement === one, one.matches(":focus-visible"), style];
    });
"""
OPENED = "document.body.getBoundingClientRect(); return performance.now()"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("grids") / "grid"
    noises = ("uniform@0.4", "cluster@0.8")
    make_grid(folder, ARMS, noises=noises, seeds=(0, 1), missing=["cluster-0.8.arm-3.1"])
    return render(read_study(folder))


@pytest.fixture(scope="module")
def found(page: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    probes = {
        **{"loaded": (LOADED, 1280), "sorting": (SORTING, 1280), "controls": (CONTROLS, 1280)},
        **{"theme": (THEME, 1280), "focus": (FOCUS, 1280)},
        **{f"charts-{width}": (CHARTS, width) for width in (390, 1280)},
        **{f"fits-{width}": (FITS, width) for width in (390, 768, 1280)},
        **{f"words-{width}": (WORDS, width) for width in (390, 768, 1280)},
    }
    return look(page, probes, tmp_path_factory.mktemp("light"))


def test_page_loads_from_disk_without_a_request_or_an_error(found: Any) -> None:
    loaded = found["loaded"]
    assert loaded["address"] == "file:"
    assert loaded["requests"] == []
    assert loaded["js"] == "js"
    # two curves' numbers, the page's own and the probe
    assert loaded["scripts"] == 4
    assert loaded["arms"] == [*ARMS, *ARMS]


def test_an_error_in_the_console_is_seen(page: str, tmp_path: Path) -> None:
    """Guards the other tests: the log does show what goes wrong."""
    with pytest.raises(AssertionError, match="CONSOLE"):
        look(page.replace('"use strict";', 'console.error("here");'), {"x": ("return 1", 800)}, tmp_path)


def test_headings_sort_both_ways_with_unknown_values_last(found: Any) -> None:
    for name, direction in (("up", "ascending"), ("down", "descending")):
        values, said = found["sorting"][name]
        assert values[-1] == ""  # the baseline has no difference
        known = [float(value) for value in values[:-1]]
        assert known == sorted(known, reverse=name == "down")
        assert len(set(known)) > 5
        assert said == direction
    assert found["sorting"]["sorted"] == 1


def test_legend_gallery_and_readout_answer(found: Any) -> None:
    controls = found["controls"]
    # its line and its band under two kinds of noise, its point, whisker and name among the costs
    assert len(controls["off"]) >= 8
    assert set(controls["off"]) == {"none"}
    assert controls["pressed"] == "true"
    assert controls["without"].startswith("epoch 1")
    assert "mw-net" not in controls["without"]
    # 80 + 5 + half a seed, less 3, plus the epoch
    assert "mw-net 83.5" in controls["together"]
    assert controls["walls"] == ["3"]


def test_colours_follow_the_system_and_then_the_button(found: Any, page: str, tmp_path: Path) -> None:
    light, night = ["rgb(251, 250, 247)", "Dark"], ["rgb(22, 23, 26)", "Light"]
    assert found["theme"] == [light, night]
    assert look(page, {"theme": (THEME, 1280)}, tmp_path, dark=True)["theme"] == [night, light]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_body_never_scrolls_sideways(found: Any, width: int) -> None:
    fits = found[f"fits-{width}"]
    assert fits["inner"] == width
    assert fits["wide"] <= width
    # the tables scroll in boxes of their own
    assert fits["boxes"] >= (2 if width == 390 else 0)


@pytest.mark.parametrize("width", [390, 1280])
def test_charts_fit_and_their_text_is_large_enough(found: Any, width: int) -> None:
    charts = found[f"charts-{width}"]
    assert charts["charts"] > 30
    assert charts["wide"] <= width
    assert charts["least"] >= 12
    assert charts["out"] == 0


@pytest.mark.slow
def test_text_of_charts_follows_the_theme(found: Any, page: str, tmp_path: Path) -> None:
    assert found["charts-1280"]["colours"] == ["rgb(29, 28, 26)", "rgb(93, 90, 84)"]
    night = look(page, {"charts": (CHARTS, 1280)}, tmp_path, dark=True)["charts"]
    assert night["colours"] == ["rgb(170, 166, 156)", "rgb(236, 234, 228)"]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_word_of_a_card_is_broken(found: Any, width: int) -> None:
    assert len(found[f"words-{width}"]) > 40
    assert set(found[f"words-{width}"]) == {1}


def test_what_can_be_used_shows_its_focus(found: Any) -> None:
    assert len(found["focus"]) > 30
    assert all(one == [True, True, "solid"] for one in found["focus"])


@pytest.mark.slow
def test_a_large_page_opens_within_three_seconds(tmp_path: Path) -> None:
    arms = ("uniform", *(f"arm-{n}" for n in range(10)))
    make_grid(tmp_path / "grid", arms, noises=("uniform@0.4", "cluster@0.8"), seeds=(0,), samples=2_000)
    page = render(read_study(tmp_path / "grid"))
    assert look(page, {"opened": (OPENED, 1280)}, tmp_path)["opened"] < 3000
