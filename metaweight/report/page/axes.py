"""Scales, round ticks, and the frame of a chart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from metaweight.report.page.svg import drawing, tag

LOG_TICKS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
LEFT, RIGHT, TOP, BOTTOM = 42.0, 12.0, 26.0, 40.0
"""Margins of a frame, where its tick labels and titles stand."""
DIGIT = 7.0
"""Width of a digit of a tick label."""


@dataclass(frozen=True)
class Axis:
    """A range of values laid over a range of pixels."""

    low: float
    high: float
    start: float
    end: float
    log1p: bool = False
    """Values >= 0 on a scale of log(1 + value)."""
    whole: bool = False
    """Ticks are whole numbers."""

    def place(self, value: float) -> float:
        """The pixel of a value; NaN stays NaN."""
        low, high, at = (math.log1p(v) if self.log1p else v for v in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        """Round values inside the range, about ``count``."""
        if self.log1p and self.high > 1:
            inside = [tick for tick in LOG_TICKS if self.low <= tick <= self.high]
            room = abs(self.end - self.start) / (count + 2)
            kept: list[float] = []
            for tick in inside:
                if not kept or abs(self.place(tick) - self.place(kept[-1])) > room:
                    kept.append(tick)
            return kept
        return round_ticks(self.low, self.high, count, whole=self.whole)


def round_ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], at most ``count`` + 1."""
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, round(step))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def spanning(
    values: Iterable[float], *, least: Sequence[float] = (), margin: float = 0.05
) -> tuple[float, float]:
    """A range that holds the finite values and ``least``, with a margin; (0, 1) where there are none."""
    known = [value for value in [*values, *least] if math.isfinite(value)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    return low - (0 if low in least else room), high + (0 if high in least else room)


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """A tick's label, with as many digits as its neighbours need."""
    steps = [b - a for a, b in itertools.pairwise(ticks)]
    digits = max(0, -math.floor(math.log10(min(steps)) + 1e-9)) if steps else 2
    return f"{value:.{digits}f}" if digits <= 4 else f"{value:.2g}"


@dataclass(frozen=True)
class Frame:
    """A chart's paper: two axes inside their margins."""

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    x_title: str
    y_title: str
    log_x: bool = False
    whole_x: bool = False

    @property
    def across(self) -> Axis:
        """The horizontal axis."""
        return Axis(*self.x, LEFT, self.width - RIGHT, log1p=self.log_x, whole=self.whole_x)

    @property
    def up(self) -> Axis:
        """The vertical axis."""
        return Axis(*self.y, self.height - BOTTOM, TOP)

    def draw(self, label: str, *content: str) -> Markup:
        """The chart, with ``content`` between grid and labels; ``label`` is read out in its place."""
        across, up = self.across, self.up
        floor, right = self.height - BOTTOM, self.width - RIGHT
        marks = []
        ticks = up.ticks(4)
        for tick in ticks:
            y = up.place(tick)
            marks.append(tag("line", x1=LEFT, x2=right, y1=y, y2=y, class_="grid"))
            text = tick_text(tick, ticks)
            marks.append(tag("text", text, x=LEFT - 7, y=y + 4, class_="tick", text_anchor="end"))
        ticks = across.ticks(5)
        for tick in ticks:
            x = across.place(tick)
            marks.append(tag("line", x1=x, x2=x, y1=floor, y2=floor + 4, class_="axis"))
            text = f"{tick:g}" if self.log_x else tick_text(tick, ticks)
            marks.append(tag("text", text, x=x, y=floor + 17, class_="tick", text_anchor="middle"))
        marks.append(tag("line", x1=LEFT, x2=right, y1=floor, y2=floor, class_="axis"))
        titles = (
            tag("text", self.y_title, x=2.0, y=13.0, class_="axis-title"),
            tag("text", self.x_title, x=right, y=self.height - 5, class_="axis-title", text_anchor="end"),
        )
        return drawing(self.width, self.height, label, *marks, *content, *titles)
