"""Two pictures of a table: cost against exactness, and memory against the number of inner steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.speed.table import MIB, Row
from benchmarks.speed.variants import FULL, Variant
from metaweight.report.charts.panel import COLOURS, Panel, look
from metaweight.report.charts.sheet import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = {"lookahead": "o", "online": "^", "gradient": "s"}
PEERS = "XP*Dvph<"
"""A marker for each other library: the colours are the engines'."""
FLOOR = 1e-16
"""Where a deviation of exactly 0 is drawn: the rounding of float64."""
PALE, DARK = "#9A9A9A", "#404040"
COSTS, MEMORY = "cost-and-exactness.png", "memory-by-unroll.png"


def label_of(variant: Variant) -> str:
    """The engine with its options, or the peer; a word says enough, a number does not."""
    options = [v if isinstance(v, str) else f"{key}={v}" for key, v in variant.options.items()]
    layout = ["channels last"] if variant.memory_format == "channels_last" else []
    return ", ".join([variant.peer or variant.engine or "", *options, *layout])


def cost_against_exactness(table: Sequence[Row], variants: Mapping[str, Variant]) -> Panel:
    """A mark for each variant of one inner step with a full meta batch in every iteration.

    x: median time in plain steps; y: deviation as timed.  Raises ValueError where no row has both.
    """
    points: list[tuple[Variant, float, float]] = []
    for row in table:
        variant, off = variants[row.variant], row.facts.deviation
        usual = variant.every == variant.unroll == 1 and variant.meta_batch is None
        if row.cost is not None and off is not None and usual:
            points.append((variant, row.cost.ratio_of_medians, max(off.timed, FLOOR)))
    if not points:
        raise ValueError("no variant has both a cost and a deviation")
    labels = list(dict.fromkeys(label_of(v) for v, _, _ in points if not v.peer))
    others = list(dict.fromkeys(v.peer for v, _, _ in points if v.peer))
    peer_marks = {peer: PEERS[i % len(PEERS)] for i, peer in enumerate(others)}
    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}

    def draw(axes: Axes) -> None:
        for variant, cost, deviation in points:
            colour = DARK if variant.peer else colours[label_of(variant)]
            axes.scatter(
                [cost],
                [deviation],
                s=70 if variant.precision == FULL else 28,
                marker=peer_marks[variant.peer] if variant.peer else MARKERS[variant.schedule],
                facecolors="none" if variant.compile else colour,
                edgecolors=colour,
                alpha=0.8,
            )
        for label in labels:
            axes.plot([], [], color=colours[label], linewidth=5, label=label)
        for shape in dict.fromkeys(v.schedule for v, _, _ in points if not v.peer):
            axes.scatter([], [], s=18, marker=MARKERS[shape], color=PALE, label=shape)
        for peer, mark in peer_marks.items():
            axes.scatter([], [], s=18, marker=mark, color=DARK, label=peer)
        if any(v.compile for v, _, _ in points):
            axes.scatter(
                [], [], s=18, marker="o", facecolors="none", edgecolors=PALE, label="hollow: compiled"
            )
        if any(v.precision != FULL for v, _, _ in points):
            axes.scatter([], [], s=4, marker="o", color=PALE, label="small: bf16")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:.0e}")
        axes.yaxis.minorticks_off()
        axes.set_xlim(0, 1.08 * max(cost for _, cost, _ in points))
        values = [deviation for _, _, deviation in points]
        axes.set_ylim(min(values) / 10, 10 * max(*values, 1e-3))
        axes.axvline(1, color="black", linewidth=0.8, linestyle=(0, (1.5, 1.5)), label="a plain step")

    title = "Cost against exactness"
    x, y = "time of an iteration, plain steps", "relative error of the teacher's gradient"
    return Panel("", "", title, x, y, draw, wide=True)


def memory_against_unroll(table: Sequence[Row], variants: Mapping[str, Variant]) -> Panel:
    """A line for each engine over K.  Raises ValueError where none has two K with their memory."""
    lines: dict[str, dict[int, float]] = {}
    for row in table:
        variant, extra = variants[row.variant], row.facts.extra_bytes
        if variant.engine is not None and variant.schedule == "gradient" and extra is not None:
            lines.setdefault(label_of(variant), {})[variant.unroll] = extra / MIB
    lines = {label: line for label, line in lines.items() if len(line) > 1}
    if not lines:
        raise ValueError("no engine has the memory of two numbers of inner steps")

    def draw(axes: Axes) -> None:
        for number, (label, line) in enumerate(lines.items()):
            steps = sorted(line)
            axes.plot(steps, [line[k] for k in steps], marker="o", markersize=4, label=label, **look(number))
        ticks = sorted({k for line in lines.values() for k in line})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.set_ylim(bottom=0)

    title = "Memory against the number of inner steps"
    return Panel("", "", title, "inner steps K", "extra peak memory, MiB", draw, wide=True)


def write_charts(folder: Path, table: Sequence[Row], variants: Mapping[str, Variant]) -> list[Path]:
    """Write those charts that the table has the numbers for; their paths."""
    written = []
    for name, draw in ((COSTS, cost_against_exactness), (MEMORY, memory_against_unroll)):
        try:
            panel = draw(table, variants)
        except ValueError:  # nothing was measured that this chart could show
            continue
        save([panel], panel.label, folder / name)
        written.append(folder / name)
    return written
