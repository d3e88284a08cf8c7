"""Small marks between the words of the page, drawn by its style sheet alone; and the line of a card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from metaweight.report.charts.panel import COLOURS, DASHES


def style_class(style: int) -> str:
    """Colour and dash of the arm with this number, as classes of the style sheet."""
    return f"s{style % len(COLOURS)} d{style // len(COLOURS) % len(DASHES)}"


def swatch(style: int) -> Markup:
    """The sample of an arm's line that a legend shows."""
    return Markup('<i class="swatch {}" aria-hidden="true"></i>').format(style_class(style))


def interval(mean: float, low: float, high: float, *, span: tuple[float, float]) -> Markup:
    """A difference with its interval on a line over ``span``, which holds 0."""

    def place(value: float) -> str:
        return f"{5 + 90 * (value - span[0]) / ((span[1] - span[0]) or 1.0):.1f}%"

    reach = Markup("")
    if math.isfinite(low) and math.isfinite(high):
        sure = " sure" if low > 0 or high < 0 else ""
        reach = Markup('<i class="reach{}" style="left:{};right:calc(100% - {})"></i>').format(
            sure, place(low), place(high)
        )
    return Markup(
        '<span class="interval" aria-hidden="true"><i class="zero" style="left:{}"></i>{}'
        '<i class="mean" style="left:{}"></i></span>'
    ).format(place(0.0), reach, place(mean))


def parts_bar(parts: Mapping[str, float]) -> Markup:
    """Shares of a whole, side by side; each name is a class of the style sheet."""
    bars = (Markup('<i class="{}" style="width:{:.2f}%"></i>').format(n, 100 * s) for n, s in parts.items())
    return Markup('<span class="parts" aria-hidden="true">{}</span>').format(Markup("").join(bars))


def sparkline(history: Sequence[float], *, top: float, label: str) -> Markup:
    """A sample's weight by epoch from 0 to ``top``, with a line at weight 1; a gap where it is not finite."""
    step = 116 / max(len(history) - 1, 1)
    d, pen = "", "M"
    for epoch, value in enumerate(history):
        if math.isfinite(value):
            d += f"{pen}{2 + step * epoch:.1f} {_up(value, top):.1f}" + ("h0" if pen == "M" else "")
            pen = "L"
        else:
            pen = "M"
    one = Markup('<path d="M0 {:.1f}H120" class="one"/>').format(_up(1.0, top)) if top >= 1 else ""
    return Markup(
        '<svg viewBox="0 0 120 28" preserveAspectRatio="none" role="img" aria-label="{}" class="spark">'
        '{}<path d="{}" class="line"/></svg>'
    ).format(label, one, d)


def _up(value: float, top: float) -> float:
    return 26 - 24 * min(value / top, 1.0)
