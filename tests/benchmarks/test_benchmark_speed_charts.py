"""The charts of the speed benchmark: what they show, and that they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from benchmarks.speed.charts import (
    COSTS,
    FLOOR,
    MEMORY,
    cost_against_exactness,
    label_of,
    memory_against_unroll,
    write_charts,
)
from benchmarks.speed.exactness import Deviation
from benchmarks.speed.table import Cost, Facts, Row, Spread
from benchmarks.speed.variants import PLAIN, Variant
from metaweight.report.charts.panel import Panel, style
from metaweight.report.charts.sheet import sheet

SECOND = Spread(1.0, 1.0, 1.0)


def row(variant: Variant, ratio: float, off: float | None = None, extra: int | None = None) -> Row:
    deviation = None if off is None else Deviation(None, off)
    return Row(variant.name, Cost(SECOND, ratio, SECOND), Facts(extra, None, deviation))


def with_names(*variants: Variant) -> dict[str, Variant]:
    return {variant.name: variant for variant in variants}


def drawn(panel: Panel) -> Figure:
    with style():
        return sheet([panel], panel.label)


def test_a_mark_for_each_variant_that_has_both_numbers() -> None:
    forward, exact, fifth, peer = (
        Variant("forward"),
        Variant("higher"),
        Variant("forward", every=5),
        Variant(peer="torchopt"),
    )
    table = [row(PLAIN, 1.0), row(forward, 3.5, 1e-6), row(exact, 5.0, 0.0), row(fifth, 1.5, 1e-6)]
    table += [row(peer, 6.0, 0.5), Row("gone", None, Facts(refused="refused: no"))]
    variants = with_names(PLAIN, forward, exact, fifth, peer) | {"gone": Variant("gone")}
    figure = drawn(cost_against_exactness(table, variants))
    (axes,) = figure.axes
    marks = [c.get_offsets()[0].tolist() for c in axes.collections if len(c.get_offsets())]
    assert marks == [[3.5, 1e-6], [5.0, FLOOR], [6.0, 0.5]]
    assert axes.get_yscale() == "log"
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["forward", "higher", "lookahead", "torchopt", "a plain step"]


def test_a_line_for_each_engine_over_k() -> None:
    many = [Variant("higher", "gradient", unroll=k) for k in (1, 4, 16)]
    other = [Variant("reverse", "gradient", unroll=k, options={"replay": "snapshots"}) for k in (1, 16)]
    lonely = Variant("double", "gradient")
    table = [row(v, 5.0, extra=v.unroll * 2**20) for v in (*many, *other, lonely)]
    (axes,) = drawn(memory_against_unroll(table, with_names(*many, *other, lonely))).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines == {"higher": [[1, 1], [4, 4], [16, 16]], "reverse, snapshots": [[1, 1], [16, 16]]}


def test_charts_without_numbers_are_not_drawn(tmp_path: Path) -> None:
    one = Variant("higher", "gradient")
    assert write_charts(tmp_path, [row(PLAIN, 1.0)], with_names(PLAIN)) == []
    with pytest.raises(ValueError, match="two numbers of inner steps"):
        memory_against_unroll([row(one, 5.0, extra=1)], with_names(one))
    two = Variant("higher", "gradient", unroll=2)
    table = [row(one, 5.0, 1e-7, 1), row(two, 5.0, 1e-7, 2)]
    written = write_charts(tmp_path, table, with_names(one, two))
    assert [path.name for path in written] == [COSTS, MEMORY]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_a_label_names_options_that_do_not_speak_for_themselves() -> None:
    assert label_of(Variant("reverse", options={"replay": "momentum"})) == "reverse, momentum"
    one_sided = Variant("difference", options={"sides": 1}, memory_format="channels_last")
    assert label_of(one_sided) == "difference, sides=1, channels last"
