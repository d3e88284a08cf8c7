"""A chart in the page: escaped, without ids or addresses, in the style sheet's colours."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest

from metaweight.report.charts.costs import Spot, costs
from metaweight.report.charts.curves import Series, curves
from metaweight.report.charts.panel import Draw, Panel
from metaweight.report.charts.sample_weights import quartile_bands, weight_against_loss
from metaweight.report.charts.shares import attention_over_layers
from metaweight.report.charts.svg import svg
from metaweight.report.page.samples import Dots, Quartiles

NAN = math.nan
EVIL = '</script><script>alert("1")</script>&$a$'


def series(name: str, style: int, *middle: float) -> Series:
    x = tuple(float(i + 1) for i in range(len(middle)))
    return Series(name, style, x, middle, tuple(v - 1 for v in middle), tuple(v + 1 for v in middle))


def dots(n: int) -> Dots:
    return Dots(np.linspace(0, 9, n), np.linspace(2, 0, n))


LOW, HIGH = np.array([0.1, NAN, 0.3]), np.array([0.5, NAN, 0.6])
DRAWN: dict[str, Draw] = {
    "curves": curves([series(EVIL, 0, 1, 2, 4), series("b", 9, 1, NAN, 2), series("c", 17, 3, 3, 3)], (0, 5)),
    "one epoch": curves([series("a", 0, 1.0)], (0, 2)),
    "no arm": curves([], (0, 1)),
    "no finite value": curves([series("a", 0, NAN)], (0, 1)),
    "quartiles": quartile_bands(
        {"clean": Quartiles(LOW, LOW, HIGH), "flipped": Quartiles(LOW, HIGH, HIGH)}, 2
    ),
    "dots": weight_against_loss(
        {"clean": dots(50), "flipped": dots(1), "all": dots(3)}, dots(9), most=9, top=2
    ),
    "no dots": weight_against_loss({}, dots(0), most=0.1, top=2),
    "shares": attention_over_layers([[0, 0], [0.5, 0.5]], ["a", EVIL], ["a", EVIL]),
    "costs": costs([Spot(EVIL, 0, 1, 90, NAN, NAN), Spot("b", 17, 4, 95, 94, 96), Spot("c", 9, 2, 9, 9, 9)]),
}


def page_svg(draw: Draw, *, wide: bool = True, label: str = EVIL) -> str:
    return str(svg(Panel("", "", label, "epoch", EVIL, draw, wide=wide)))


@pytest.mark.parametrize("name", DRAWN)
def test_chart_is_well_formed_and_has_only_finite_numbers(name: str) -> None:
    drawn = page_svg(DRAWN[name])
    root = ET.fromstring(drawn)
    assert (root.tag, root.get("role"), root.get("aria-label")) == ("svg", "img", EVIL)
    assert EVIL in [text.text for text in root.iter("text")]
    assert re.findall("nan|inf|<script", drawn.lower()) == []


@pytest.mark.parametrize("name", DRAWN)
def test_chart_has_no_id_no_address_and_no_colour_of_its_own(name: str) -> None:
    drawn = page_svg(DRAWN[name])
    assert re.findall(r"\sid=|href|url\(|https?:|xmlns|<defs|<metadata|#[0-9a-f]{3,6}\b", drawn) == []
    variables = set(re.findall(r"(?:fill|stroke):(.*?)[;\"]", drawn))
    assert {"var(--soft)"} <= variables
    assert all(
        re.fullmatch(r"none|var\(--(s[0-7]|clean|flipped|soft|grid|paper)\)", name) for name in variables
    )


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_chart_is_the_same_bytes(name: str) -> None:
    assert page_svg(DRAWN[name]) == page_svg(DRAWN[name])


def test_numbers_are_short() -> None:
    for draw in DRAWN.values():
        numbers = re.findall(r"\d+\.(\d+)", re.sub('style=".*?"', "", page_svg(draw)))
        assert all(len(digits) <= 2 for digits in numbers)


def groups(drawn: str) -> list[tuple[str | None, str | None, str | None]]:
    return [
        (group.get("class"), group.get("data-arm"), group.findtext("title"))
        for group in ET.fromstring(drawn).iter("g")
    ]


def test_the_marks_of_an_arm_carry_its_number_and_its_name() -> None:
    assert {*groups(page_svg(DRAWN["curves"]))} == {("arm", "0", EVIL), ("arm", "9", "b"), ("arm", "17", "c")}
    named = {("arm", "0", f"{EVIL}: 1.0, 90.0"), ("arm", "17", "b: 4.0, 95.0"), ("arm", "9", "c: 2.0, 9.0")}
    assert {*groups(page_svg(DRAWN["costs"]))} == named


def test_other_marks_carry_their_name_alone() -> None:
    assert {*groups(page_svg(DRAWN["shares"]))} == {(None, None, "a"), (None, None, EVIL)}
    assert {*groups(page_svg(DRAWN["quartiles"]))} == {(None, None, "clean"), (None, None, "flipped")}


def path_numbers(drawn: str, mark: str) -> list[float]:
    """Of the path data of the first path whose style holds ``mark``."""
    paths = [path for path in ET.fromstring(drawn).iter("path") if mark in path.get("style", "")]
    return [float(number) for number in re.findall(r"-?[\d.]+", paths[0].get("d", ""))]


def test_curve_of_an_arm_is_where_its_values_say() -> None:
    drawn = page_svg(curves([series("a", 0, 0.0, 10.0)], (0, 10)))
    assert path_numbers(drawn, "stroke:var(--s0)") == [42, 300 - 40, 460 - 12, 26]


def test_a_cloud_of_dots_is_one_path_of_as_many_points() -> None:
    drawn = page_svg(DRAWN["dots"], wide=False)
    (cloud,) = (path for path in ET.fromstring(drawn).iter("path") if path.get("d", "").count("h0") == 50)
    assert cloud.get("style", "").startswith(
        "fill:none;stroke:var(--clean);stroke-opacity:0.45;stroke-width:3.4"
    )
    first, last = (cloud.get("d", "").split("M")[n].removesuffix("h0") for n in (1, -1))
    assert (first, last) == ("42 26", "288 170")


def test_drawing_leaves_matplotlib_as_it_was_and_pyplot_unloaded() -> None:
    before = dict(matplotlib.rcParams)
    page_svg(DRAWN["curves"])
    assert dict(matplotlib.rcParams) == before


@pytest.mark.slow
def test_matplotlib_is_loaded_late_and_pyplot_never() -> None:
    code = (
        "import sys\n"
        "from metaweight.report.charts import curves, sample_weights, sheet, svg\n"
        "from metaweight.report.charts.panel import Panel\n"
        "from metaweight.report import page, plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "svg.svg(Panel('', '', '', '', '', curves.curves([], (0, 1))))\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_users_settings_say_changes_nothing() -> None:
    plain = page_svg(DRAWN["curves"])
    with matplotlib.rc_context({"lines.linewidth": 9, "text.color": "red", "axes.grid": False}):
        assert page_svg(DRAWN["curves"]) == plain
