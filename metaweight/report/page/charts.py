"""The page's charts: plain values in, SVG out.  Colours are classes, so that the style sheet owns them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from metaweight.report.page.axes import LEFT, RIGHT, Frame, spanning
from metaweight.report.page.svg import Point, band_path, dots_path, drawing, line_path, tag

COLOURS, DASHES = 8, 3
"""Series classes of the style sheet: s0 to s7, and d0 to d2 behind them."""
WIDE = (460.0, 300.0)
SMALL = (300.0, 210.0)
LEFT_SHARE, RIGHT_SHARE = LEFT / WIDE[0], 1 - RIGHT / WIDE[0]
"""Where the epochs begin and end in a wide chart, as shares of its width."""


@dataclass(frozen=True)
class Series:
    """A line with a band around it; NaN makes a gap."""

    name: str
    style: int
    """Of the arm, the same in every chart."""
    x: tuple[float, ...]
    middle: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Spot:
    """A point with an interval upwards and downwards."""

    name: str
    style: int
    x: float
    y: float
    low: float
    high: float


def style_class(style: int) -> str:
    """Colour and dash of the arm with this number: 24 that differ, then again from the start."""
    return f"s{style % COLOURS} d{style // COLOURS % DASHES}"


def curves(
    series: Sequence[Series], *, x_title: str, y_title: str, label: str, y: tuple[float, float] | None = None
) -> Markup:
    """Lines over epochs, each in its band, in groups that carry the arm's number."""
    xs = [x for line in series for x in line.x]
    ys = [v for line in series for part in (line.middle, line.low, line.high) for v in part]
    across = (min(xs, default=0.0), max(xs, default=1.0))
    frame = Frame(*WIDE, _open(across), y or spanning(ys), x_title, y_title, whole_x=True)
    groups = []
    for line in series:
        x = [frame.across.place(v) for v in line.x]
        low, middle, high = ([frame.up.place(v) for v in part] for part in (line.low, line.middle, line.high))
        groups.append(
            tag(
                "g",
                tag("title", line.name),
                tag("path", d=band_path(x, low, high), class_="band"),
                tag("path", d=line_path(zip(x, middle, strict=True)), class_="line"),
                class_=f"arm {style_class(line.style)}",
                data_arm=line.style,
            )
        )
    return frame.draw(label, *groups)


def quartile_bands(
    kinds: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    *,
    top: float,
    label: str,
    x_title: str = "epoch",
) -> Markup:
    """Lower quartile, median and upper quartile of each kind by epoch, on a scale from 0 to ``top``."""
    epochs = max((len(median) for _, median, _ in kinds.values()), default=1)
    frame = Frame(*SMALL, _open((1.0, float(epochs))), (0.0, top), x_title, "weight", whole_x=True)
    x = [frame.across.place(epoch + 1) for epoch in range(epochs)]
    one = frame.up.place(1.0)
    marks = [tag("line", x1=x[0], x2=x[-1], y1=one, y2=one, class_="one")] if top >= 1 else []
    for kind, parts in kinds.items():
        low, median, high = ([frame.up.place(v) for v in part] for part in parts)
        band = tag("path", d=band_path(x, low, high), class_="band")
        line = tag("path", d=line_path(zip(x, median, strict=True)), class_="line")
        marks.append(tag("g", tag("title", kind), band, line, class_=f"kind {kind}"))
    return frame.draw(label, *marks)


def weight_against_loss(
    kinds: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    middle: tuple[Sequence[float], Sequence[float]],
    *,
    most: float,
    top: float,
    label: str,
) -> Markup:
    """A dot a sample, (losses, weights) by kind, and the line of the weights' medians."""
    frame = Frame(*SMALL, (0.0, max(most, 0.1)), (0.0, top), "loss, log(1 + x) scale", "weight", log_x=True)

    def placed(loss: Sequence[float], weight: Sequence[float]) -> list[tuple[float, float]]:
        return [
            (frame.across.place(max(a, 0.0)), frame.up.place(b)) for a, b in zip(loss, weight, strict=True)
        ]

    clouds = [tag("path", d=dots_path(placed(*data)), class_=f"dots {kind}") for kind, data in kinds.items()]
    return frame.draw(label, *clouds, tag("path", d=line_path(placed(*middle)), class_="middle"))


def shares(
    rows: Sequence[Sequence[float]], layers: Sequence[str], *, names: Sequence[str], label: str
) -> Markup:
    """Stacked shares of attention [epochs, L], a column an epoch; an epoch of zeros stays blank.

    ``names``: all layers of the page's charts; a layer's place there is its colour.
    """
    frame = Frame(*SMALL, (0.5, len(rows) + 0.5), (0.0, 1.0), "epoch", "share of attention", whole_x=True)
    marks = []
    for layer, name in enumerate(layers):
        d = ""
        for epoch, row in enumerate(rows):
            below = math.fsum(row[:layer])
            if not math.isfinite(below + row[layer]) or row[layer] <= 0:
                continue
            x0, x1 = frame.across.place(epoch + 0.5), frame.across.place(epoch + 1.5)
            y0, y1 = frame.up.place(below), frame.up.place(below + row[layer])
            d += f"M{x0:.1f} {y0:.1f}H{x1:.1f}V{y1:.1f}H{x0:.1f}Z"
        marks.append(tag("path", tag("title", name), d=d, class_=f"share s{share_style(names.index(name))}"))
    return frame.draw(label, *marks)


def share_style(layer: int) -> int:
    """Colour of a layer: black is for lines."""
    return 1 + layer % (COLOURS - 1)


def costs(spots: Sequence[Spot], *, x_title: str, y_title: str, label: str) -> Markup:
    """The main figure over the cost, a point an arm with its spread."""
    low, high = spanning([v for s in spots for v in (s.y, s.low, s.high)], margin=0.08)
    most = max((s.x for s in spots), default=1.0)
    frame = Frame(*WIDE, (0.0, most * 1.08), (low, high), x_title, y_title)
    places = [(frame.across.place(spot.x), frame.up.place(spot.y)) for spot in spots]
    named = labels(places, [spot.name for spot in spots], width=WIDE[0])
    marks = []
    for spot, (x, y), name in zip(spots, places, named, strict=True):
        bar = [(x, frame.up.place(spot.low)), (x, frame.up.place(spot.high))]
        whisker = line_path(bar) if math.isfinite(spot.low) else ""
        parts = [
            tag("title", f"{spot.name}: {spot.x:.1f}, {spot.y:.1f}"),
            tag("path", d=whisker, class_="line whisker"),
            tag("path", d=shape_path(spot.style, x, y), class_="spot"),
        ]
        if name is not None:
            at, anchor = name
            parts.append(tag("text", spot.name, x=at[0], y=at[1], text_anchor=anchor, class_="spot-name"))
        marks.append(tag("g", *parts, class_=f"arm {style_class(spot.style)}", data_arm=spot.style))
    return frame.draw(label, *marks)


def labels(places: Sequence[Point], names: Sequence[str], *, width: float) -> list[tuple[Point, str] | None]:
    """Where each point's name can stand without lying on a point or another name, and its anchor.

    None where there is no room: the legend has it.
    """
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    found: list[tuple[Point, str] | None] = []
    for (x, y), name in zip(places, names, strict=True):
        long = 6.8 * len(name)
        choice: tuple[Point, str] | None = None
        for at, anchor, left in (
            ((x + 9, y + 4), "start", x + 9),
            ((x - 9, y + 4), "end", x - 9 - long),
            ((x, y - 11), "middle", x - long / 2),
            ((x, y + 19), "middle", x - long / 2),
        ):
            box = (left, at[1] - 11, left + long, at[1] + 3)
            free = all(box[2] < o[0] or o[2] < box[0] or box[3] < o[1] or o[3] < box[1] for o in taken)
            if free and left >= LEFT and left + long <= width:
                choice = (at, anchor)
                taken.append(box)
                break
        found.append(choice)
    return found


def shape_path(style: int, x: float, y: float, size: float = 5.0) -> str:
    """A circle, square or triangle around a point, by the arm's dash, so that 24 arms differ."""
    r = size
    shapes = (
        f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z",
        f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}Z",
        f"M{x:.1f} {y - 1.2 * r:.1f}l{1.2 * r} {2 * r}h{-2.4 * r}Z",
    )
    return shapes[style // COLOURS % DASHES]


def swatch(style: int) -> Markup:
    """The sample of an arm's line that a legend shows."""
    line = tag("path", d="M1 6H27", class_="line")
    return tag("svg", line, viewBox="0 0 28 12", class_=f"swatch {style_class(style)}", aria_hidden="true")


def interval(mean: float, low: float, high: float, *, span: tuple[float, float]) -> Markup:
    """A difference with its interval on a line over ``span``, which holds 0."""
    width, height = 110.0, 16.0

    def place(value: float) -> float:
        share = (value - span[0]) / ((span[1] - span[0]) or 1.0)
        return 5 + (width - 10) * share

    marks = [tag("path", d=f"M{place(0.0):.1f} 1V{height - 1}", class_="zero")]
    if math.isfinite(low) and math.isfinite(high):
        sure = "sure" if low > 0 or high < 0 else "unsure"
        marks.append(tag("path", d=f"M{place(low):.1f} 8H{place(high):.1f}", class_=f"reach {sure}"))
    marks.append(tag("circle", cx=place(mean), cy=8.0, r=3.0, class_="mean"))
    return tag("svg", *marks, viewBox=f"0 0 {width:g} {height:g}", class_="interval", aria_hidden="true")


def parts_bar(parts: Mapping[str, float]) -> Markup:
    """Shares of a whole, side by side on 100 units; each name is a class of the style sheet."""
    marks, left = [], 0.0
    for name, share in parts.items():
        marks.append(tag("rect", x=100 * left, y=0.0, width=100 * share, height=10.0, class_=name))
        left += share
    return tag(
        "svg", *marks, viewBox="0 0 100 10", preserveAspectRatio="none", class_="parts", aria_hidden="true"
    )


def sparkline(history: Sequence[float], *, top: float, label: str) -> Markup:
    """A sample's weight by epoch from 0 to ``top``, with a line at weight 1."""
    width, height = 120.0, 28.0
    step = (width - 4) / max(len(history) - 1, 1)

    def up(value: float) -> float:
        return height - 2 - min(value / top, 1.0) * (height - 4) if math.isfinite(value) else math.nan

    points = [(2 + step * epoch, up(value)) for epoch, value in enumerate(history)]
    one = tag("path", d=f"M0 {up(1.0):.1f}H{width:g}", class_="one") if top >= 1 else Markup("")
    return drawing(
        width,
        height,
        label,
        one,
        tag("path", d=line_path(points), class_="line"),
        class_="spark",
        stretch=True,
    )


def _open(span: tuple[float, float]) -> tuple[float, float]:
    """A span that is not empty: a single epoch stands in its middle."""
    return span if span[1] > span[0] else (span[0] - 0.5, span[1] + 0.5)
