"""A panel as inline SVG: what matplotlib writes, without ids and in the style sheet's colours."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from markupsafe import Markup

from metaweight.core.shown import shown
from metaweight.report.charts.panel import (
    BOTTOM,
    COLOURS,
    GRID,
    KINDS,
    LEFT,
    PAPER,
    RIGHT,
    SOFT,
    TOP,
    UNITS,
    Panel,
    style,
)

SVG, HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
VARIABLES = {
    **{"none": "none", SOFT: "var(--soft)", GRID: "var(--grid)", PAPER: "var(--paper)"},
    **{colour: f"var(--{kind})" for kind, colour in KINDS.items()},
    **{colour: f"var(--s{number})" for number, colour in enumerate(COLOURS)},
}
"""Colour -> what the page's two themes make of it."""


def svg(panel: Panel) -> Markup:
    """The chart, that scales with its box; its text is text, and the same panel gives the same bytes."""
    from matplotlib.figure import Figure

    width, height = panel.size
    frame = (LEFT / width, BOTTOM / height, 1 - (LEFT + RIGHT) / width, 1 - (TOP + BOTTOM) / height)
    written = io.BytesIO()
    with style():
        figure = Figure((width / UNITS, height / UNITS), dpi=UNITS, frameon=False)
        panel.draw_on(figure.add_axes(frame))
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    root = ElementTree.fromstring(written.getvalue())
    shapes = {f"#{path.get('id')}": path for path in root.iter(f"{SVG}path") if path.get("id")}
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}" class="chart">{}</svg>').format(
        width, height, shown(panel.label), _marks(root, shapes)
    )


def _marks(group: Element, shapes: Mapping[str, Element]) -> Markup:
    """What a group draws, without the groups that name nothing."""
    uses = group.findall(f"{SVG}use")
    if len(uses) > 1:
        return _dots(uses, shapes)
    marks = Markup()
    for child in group:
        if child.tag == f"{SVG}g":
            arm, colon, title = child.get("id", "").partition(":")
            inner = _marks(child, shapes)
            hides = Markup(' class="arm" data-arm="{}"').format(arm) if arm else ""
            named = Markup("<g{}><title>{}</title>{}</g>").format(hides, title, inner)
            marks += named if colon else inner
        elif child.tag == f"{SVG}path" and child.get("d"):
            marks += _path(child.attrib["d"], _style(child))
        elif child.tag == f"{SVG}use":
            shape = shapes[child.attrib[HREF]]
            place = Markup(' transform="translate({} {})"').format(*_place(child))
            marks += _path(shape.attrib["d"], _style(child) | _style(shape), place)
        elif child.tag == f"{SVG}text":
            look = _style(child)
            text = Markup('<text x="{}" y="{}" text-anchor="{}" style="fill:{}">{}</text>')
            marks += text.format(*_place(child), look["text-anchor"], look["fill"], child.text or "")
    return marks


def _dots(uses: list[Element], shapes: Mapping[str, Element]) -> Markup:
    """Many marks of one artist are dots, and these one path with round ends: a twentieth of the bytes."""
    look = _style(uses[0])
    radius = float(shapes[uses[0].attrib[HREF]].attrib["d"].split()[2])  # "M 0 radius", below the centre
    dots = {"fill": "none", "stroke": look["fill"], "stroke-opacity": look.get("fill-opacity", "1")}
    ends = {"stroke-width": f"{2 * radius:g}", "stroke-linecap": "round"}
    return _path("".join("M{} {}h0".format(*_place(use)) for use in uses), dots | ends)


def _path(d: str, look: Mapping[str, str], place: str = "") -> Markup:
    short = re.sub(r"\s*([A-Za-z])\s*", r"\1", re.sub(r"-?\d+\.\d+", lambda found: _short(found[0]), d))
    text = ";".join(f"{name}:{value}" for name, value in look.items())
    return Markup('<path d="{}" style="{}"{}/>').format(short, text, place)


def _place(mark: Element) -> tuple[str, str]:
    return _short(mark.attrib["x"]), _short(mark.attrib["y"])


def _short(number: str) -> str:
    """With two digits behind the point at most."""
    return f"{float(number):.2f}".rstrip("0").rstrip(".")


def _style(mark: Element) -> dict[str, str]:
    pairs = (entry.split(": ", 1) for entry in mark.get("style", "").split("; ") if entry)
    return {name: VARIABLES[value] if name in ("fill", "stroke") else value for name, value in pairs}
