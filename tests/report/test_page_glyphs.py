"""The small marks between the page's words: where a value lands, what a gap does, what is escaped."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest

from metaweight.report.page.glyphs import interval, parts_bar, sparkline, style_class, swatch

NAN = math.nan
EVIL = '</script><script>alert("1")</script>&'
DRAWN = {
    "sparkline": sparkline([NAN, 1.0, 0.5], top=2.0, label=EVIL),
    "sparkline of nothing": sparkline([NAN], top=2.0, label=""),
    "interval": interval(1.0, -1.0, 3.0, span=(-1.0, 3.0)),
    "interval of one seed": interval(0.0, NAN, NAN, span=(0.0, 0.0)),
    "parts": parts_bar({"clean": 0.3, "flipped": 0.7}),
    "swatch": swatch(30),
}


@pytest.mark.parametrize("name", DRAWN)
def test_glyph_is_well_formed_and_has_only_finite_numbers(name: str) -> None:
    ET.fromstring(DRAWN[name])
    assert re.findall("nan|inf%|<script", DRAWN[name].lower()) == []


def test_24_arms_look_different() -> None:
    assert len({style_class(style) for style in range(24)}) == 24
    assert style_class(24) == style_class(0)


def test_line_of_a_sample_has_gaps_and_lone_points() -> None:
    root = ET.fromstring(sparkline([2.0, 0.0, NAN, 1.0], top=2.0, label=EVIL))
    one, line = (path.get("d") for path in root.iter("path"))
    assert line == "M2.0 2.0h0L40.7 26.0M118.0 14.0h0"
    assert one == "M0 14.0H120"
    assert root.get("aria-label") == EVIL


def test_interval_lies_on_its_span_and_is_filled_where_it_leaves_out_zero() -> None:
    root = ET.fromstring(interval(1.0, 0.5, 3.0, span=(-1.0, 3.0)))
    assert [(mark.get("class"), mark.get("style")) for mark in root] == [
        ("zero", "left:27.5%"),
        ("reach sure", "left:38.8%;right:calc(100% - 95.0%)"),
        ("mean", "left:50.0%"),
    ]
    assert 'class="reach"' in interval(0.0, -1.0, 1.0, span=(-1.0, 1.0))


def test_parts_fill_the_bar() -> None:
    assert re.findall(r"width:([\d.]+)%", parts_bar({"a": 0.25, "b": 0.75})) == ["25.00", "75.00"]
