"""SVG elements as escaped text, and paths with gaps."""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup, escape

Point = tuple[float, float]


def tag(name: str, *content: str, **attributes: object) -> Markup:
    """An element; an attribute's ``_`` becomes ``-``, a trailing one goes, None leaves it out.

    Content and attributes that are no Markup are escaped.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), number(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(escape(part) for part in content)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inside)


def number(value: object) -> object:
    """A float with two digits behind the point at most; anything else as it is."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def drawing(
    width: float, height: float, label: str, *content: str, class_: str = "chart", stretch: bool = False
) -> Markup:
    """A picture that scales with its box; ``label`` is read out in its place.  ``stretch``: to any shape."""
    return tag(
        "svg",
        *content,
        viewBox=f"0 0 {number(width)} {number(height)}",
        preserveAspectRatio="none" if stretch else None,
        role="img",
        aria_label=label,
        class_=class_,
    )


def line_path(points: Iterable[Point]) -> str:
    """Path data of a line that has a gap where a number is not finite; a lone point becomes a dot."""
    return "".join(
        f"M{number(run[0][0])} {number(run[0][1])}"
        + ("h0" if len(run) == 1 else "".join(f"L{number(x)} {number(y)}" for x, y in run[1:]))
        for run in runs(points)
    )


def band_path(x: Iterable[float], low: Iterable[float], high: Iterable[float]) -> str:
    """Path data of the area between two lines, with gaps where one of them has one."""
    points = [(a, b) if math.isfinite(c) else (a, math.nan) for a, b, c in zip(x, low, high, strict=True)]
    tops = {a: c for (a, _), c in zip(points, high, strict=True)}
    parts = []
    for run in runs(points):
        there = "L".join(f"{number(a)} {number(b)}" for a, b in run)
        back = "L".join(f"{number(a)} {number(tops[a])}" for a, _ in reversed(run))
        parts.append(f"M{there}L{back}Z")
    return "".join(parts)


def dots_path(points: Iterable[Point]) -> str:
    """Path data of one dot a point, drawn by a round line cap: one element for a whole cloud."""
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points if math.isfinite(x) and math.isfinite(y))


def runs(points: Iterable[Point]) -> list[list[Point]]:
    """The stretches of points whose numbers are all finite."""
    found: list[list[Point]] = [[]]
    for point in points:
        if all(map(math.isfinite, point)):
            found[-1].append(point)
        elif found[-1]:
            found.append([])
    return [run for run in found if run]
