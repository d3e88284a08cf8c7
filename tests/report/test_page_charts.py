"""Scales, paths and charts: where a value lands, what a gap does, what is escaped."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest

from metaweight.report.page import charts
from metaweight.report.page.axes import Axis, round_ticks, spanning, tick_text
from metaweight.report.page.charts import Series, Spot
from metaweight.report.page.svg import band_path, dots_path, line_path, tag

NAN = math.nan
EVIL = '</script><script>alert("1")</script>&'


def series(name: str = "mlp", style: int = 0, middle: tuple[float, ...] = (1.0, 2.0, 4.0)) -> Series:
    x = tuple(float(i + 1) for i in range(len(middle)))
    return Series(name, style, x, middle, tuple(v - 1 for v in middle), tuple(v + 1 for v in middle))


@pytest.mark.parametrize(
    ("low", "high", "count", "whole", "expected"),
    [
        (0, 1, 5, False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.5, 25.5, 5, True, [5, 10, 15, 20, 25]),
        (1, 3, 5, True, [1, 2, 3]),
        (-3, 4, 4, False, [-2, 0, 2, 4]),
        (90.2, 90.3, 2, False, [90.2, 90.25, 90.3]),
    ],
)
def test_ticks_are_round_and_inside(low, high, count, whole, expected) -> None:
    assert round_ticks(low, high, count, whole=whole) == pytest.approx(expected, abs=1e-9)


def test_tick_labels_have_the_digits_that_tell_them_apart() -> None:
    for ticks in ([0.0, 0.25, 0.5], [0, 50, 100], [90.2, 90.25, 90.3], [0.001, 0.002]):
        assert len({tick_text(tick, ticks) for tick in ticks}) == len(ticks)
    assert [tick_text(v, [0, 50, 100]) for v in (0, 50, 100)] == ["0", "50", "100"]


def test_axis_places_ends_and_middle() -> None:
    axis = Axis(10, 20, 100, 0)
    assert [axis.place(v) for v in (10, 15, 20)] == [100, 50, 0]
    log = Axis(0, math.e - 1, 0, 80, log1p=True)
    assert log.place(math.sqrt(math.e) - 1) == pytest.approx(40, abs=1e-9)
    assert math.isnan(axis.place(NAN))


def test_range_of_one_value_and_of_none_has_a_width() -> None:
    for values in ([], [NAN], [3.0, 3.0], [0.0]):
        low, high = spanning(values)
        assert low < high
        assert all(low <= v <= high for v in values if math.isfinite(v))


def test_line_has_gaps_and_lone_points() -> None:
    assert line_path([(0, 1), (1, 2), (2, NAN), (3, 4)]) == "M0 1L1 2M3 4h0"
    assert line_path([(0, NAN)]) == ""
    assert line_path([(0.0, math.inf), (1.234567, 2.0)]) == "M1.23 2h0"


def test_band_goes_there_and_back() -> None:
    assert band_path([0, 1], [1, 2], [3, 4]) == "M0 1L1 2L1 4L0 3Z"
    assert band_path([0, 1, 2], [1, NAN, 3], [2, 2, NAN]) == "M0 1L0 2Z"


def test_dots_leave_out_what_is_not_finite() -> None:
    assert dots_path([(1, 2), (NAN, 1), (3, 4)]) == "M1.0 2.0h0M3.0 4.0h0"


def test_text_and_attributes_are_escaped() -> None:
    made = tag("text", EVIL, class_=EVIL)
    assert "<script" not in made
    assert ET.fromstring(made).text == EVIL
    assert ET.fromstring(made).get("class") == EVIL


DRAWN = {
    "curves": lambda: charts.curves(
        [series(EVIL), series("b", 9, (1.0, NAN, 2.0))], x_title="epoch", y_title=EVIL, label=EVIL
    ),
    "one epoch": lambda: charts.curves([series(middle=(1.0,))], x_title="", y_title="", label=""),
    "no arm": lambda: charts.curves([], x_title="", y_title="", label=""),
    "no finite value": lambda: charts.curves([series(middle=(NAN,))], x_title="", y_title="", label=""),
    "quartiles": lambda: charts.quartile_bands(
        {"clean": ([0.1, NAN], [0.2, NAN], [0.3, NAN])}, top=2, label=EVIL
    ),
    "dots": lambda: charts.weight_against_loss(
        {"clean": ([0.0, -0.5, 2.0], [1.0, 1.0, NAN])}, ([0.0], [1.0]), most=2.0, top=2.0, label="x"
    ),
    "no dots": lambda: charts.weight_against_loss({}, ([], []), most=0.0, top=2.0, label="x"),
    "shares": lambda: charts.shares([[0, 0], [0.5, 0.5]], ["a", EVIL], names=["a", EVIL], label="x"),
    "costs": lambda: charts.costs(
        [Spot(EVIL, 0, 1.0, 90.0, NAN, NAN), Spot("b", 17, 4.0, 95.0, 94.0, 96.0)],
        x_title="cost",
        y_title="y",
        label="x",
    ),
    "sparkline": lambda: charts.sparkline([NAN, 1.0, 0.5], top=2.0, label=EVIL),
    "interval": lambda: charts.interval(1.0, -1.0, 3.0, span=(-1.0, 3.0)),
    "interval of one seed": lambda: charts.interval(0.0, NAN, NAN, span=(0.0, 0.0)),
    "swatch": lambda: charts.swatch(30),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_chart_is_well_formed_and_has_only_finite_numbers(name: str) -> None:
    drawn = str(DRAWN[name]())
    root = ET.fromstring(drawn)
    assert root.tag == "svg"
    assert "nan" not in re.sub(r"<title>.*?</title>", "", drawn.lower())
    assert "inf" not in drawn.lower()
    assert "<script" not in drawn


def test_curve_of_an_arm_is_where_its_values_say() -> None:
    root = ET.fromstring(
        charts.curves([series(middle=(0.0, 10.0))], x_title="", y_title="", label="", y=(0.0, 10.0))
    )
    (line,) = (p for p in root.iter("path") if p.get("class") == "line")
    numbers = [float(n) for n in re.findall(r"[\d.]+", line.get("d", ""))]
    width, height = charts.WIDE
    assert numbers == [42, height - 40, width - 12, 26]


def test_24_arms_look_different() -> None:
    looks = {charts.style_class(style) for style in range(24)}
    assert len(looks) == 24
    assert charts.style_class(24) == charts.style_class(0)


def test_stacked_shares_fill_the_height() -> None:
    root = ET.fromstring(charts.shares([[0.25, 0.75]], ["a", "b"], names=["a", "b"], label=""))
    first, second = ([float(n) for n in re.findall(r"[\d.]+", p.get("d", ""))] for p in root.iter("path"))
    _, height = charts.SMALL
    assert first[1] == height - 40
    assert first[3] == second[1]
    assert second[3] == 26


def test_names_of_points_do_not_lie_on_each_other() -> None:
    places = [(100.0, 100.0 + 3 * k) for k in range(12)]
    names = [f"arm-{k}" for k in range(12)]
    found = charts.labels(places, names, width=460)
    boxes = []
    for chosen, name in zip(found, names, strict=True):
        if chosen is not None:
            (x, y), anchor = chosen
            long = 6.8 * len(name)
            left = {"start": x, "end": x - long, "middle": x - long / 2}[anchor]
            boxes.append((left, y - 11, left + long, y + 3))
    assert 2 <= len(boxes) < 12
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]
