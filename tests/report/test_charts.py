"""Charts: what is drawn is what was given, on scales that hold it; what cannot be drawn is refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metaweight.report.charts.costs import Spot, costs, name_sides
from metaweight.report.charts.curves import Series, curves
from metaweight.report.charts.panel import Draw, Panel, look, spanning, style
from metaweight.report.charts.sample_weights import (
    BINS,
    quartile_bands,
    weight_against_loss,
    weight_histogram,
)
from metaweight.report.charts.shares import attention_over_layers
from metaweight.report.page.samples import Dots, Quartiles

NAN = math.nan
LAYERS = ("block2", "block3", "hidden")


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with style():
        yield


def drawn(draw: Draw) -> Axes:
    """The axes of a small chart, as long as its figure is looked at."""
    axes = Figure((300 / 72, 210 / 72), dpi=72).add_axes((0.14, 0.19, 0.82, 0.69))
    Panel("arm", "noise", "label", "x", "y", draw).draw_on(axes)
    return axes


def series(*middle: float, style: int = 0) -> Series:
    x = tuple(float(i + 1) for i in range(len(middle)))
    return Series(
        f"arm {style}", style, x, middle, tuple(v - 1 for v in middle), tuple(v + 1 for v in middle)
    )


def quartiles(*median: float) -> Quartiles:
    values = np.array(median)
    return Quartiles(values - 0.1, values, values + 0.1)


def dots(loss: list[float], weight: list[float]) -> Dots:
    return Dots(np.array(loss), np.array(weight))


def samples(n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    flipped, weights = torch.rand(n, generator=generator) < 0.4, 2 * torch.rand(n, generator=generator)
    weights[0], weights[1] = NAN, 3.7
    return weights, flipped


def shares(epochs: int = 5) -> np.ndarray:
    return torch.rand(epochs, 3, generator=torch.Generator().manual_seed(2)).softmax(dim=1).double().numpy()


def whole_ticks(axes: Axes) -> bool:
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    return bool(ticks) and all(tick == round(tick) for tick in ticks)


def test_lines_are_the_means_and_bands_the_deviations() -> None:
    axes = drawn(curves([series(1, 2, 4), series(5, 6, 7, style=9)], (0, 10)))
    assert [line.get_label() for line in axes.lines] == ["arm 0", "arm 9"]
    for line, band, middle in zip(axes.lines, axes.collections, ((1, 2, 4), (5, 6, 7)), strict=True):
        assert line.get_xdata().tolist() == [1, 2, 3]
        assert tuple(line.get_ydata()) == middle
        corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
        assert corners >= {(x + 1.0, v + d) for x, v in enumerate(middle) for d in (-1, 1)}
    assert (axes.get_xlim(), axes.get_ylim()) == ((1, 3), (0, 10))


def test_a_gap_stays_open_and_a_lone_value_is_a_dot() -> None:
    axes = drawn(curves([series(1, NAN, 3, 4, NAN, 6)], (0, 10)))
    line, alone = axes.lines
    np.testing.assert_array_equal(line.get_ydata(), [1, NAN, 3, 4, NAN, 6])
    assert alone.get_xydata().tolist() == [[1, 1], [6, 6]]
    assert len(axes.collections[0].get_paths()) == 3


@pytest.mark.parametrize("epochs", [1, 6, 60])
def test_epochs_are_whole_numbers_and_a_single_one_stands_in_the_middle(epochs: int) -> None:
    for draw in (
        curves([series(*range(epochs))], (0, 10)),
        quartile_bands({"clean": quartiles(*[1.0] * epochs)}, 2),
        attention_over_layers(shares(epochs).tolist(), LAYERS, LAYERS),
    ):
        axes = drawn(draw)
        assert whole_ticks(axes)
        assert sum(axes.get_xlim()) / 2 == (epochs + 1) / 2
        assert axes.get_xlim()[0] < axes.get_xlim()[1]


def test_a_chart_of_no_arm_is_empty_axes() -> None:
    for draw in (curves([], (0, 1)), costs([]), quartile_bands({}, 2)):
        assert len(drawn(draw).get_legend_handles_labels()[0]) == 0


def test_range_of_one_value_and_of_none_has_a_width() -> None:
    for values in ([], [NAN], [3.0, 3.0], [0.0]):
        low, high = spanning(values)
        assert low < high
        assert all(low <= v <= high for v in values if math.isfinite(v))


def test_24_arms_look_different() -> None:
    assert len({str(look(number)) for number in range(24)}) == 24
    assert look(24) == look(0)


def test_quartiles_of_a_kind_lie_around_its_median() -> None:
    axes = drawn(quartile_bands({"clean": quartiles(1, 1.2), "flipped": quartiles(0.5, NAN)}, 2.5))
    one, clean, flipped, alone = axes.lines
    assert set(one.get_ydata()) == {1}
    assert (clean.get_label(), list(clean.get_ydata())) == ("clean", [1, 1.2])
    assert flipped.get_label() == "flipped"
    assert alone.get_xydata().tolist() == [[1, 0.5]]
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(1.3)
    assert axes.get_ylim() == (0, 2.5)


def test_histograms_share_their_bins_and_each_kind_sums_to_100() -> None:
    weights, flipped = samples()
    axes = drawn(weight_histogram(weights, flipped, float(weights[1])))
    by_kind = {patch.get_label(): patch.get_data() for patch in axes.patches}
    for kind, part in (("clean", ~flipped), ("flipped", flipped)):
        values = weights[part & weights.isfinite()].numpy()
        counts, edges = np.histogram(values, np.linspace(0, float(weights[1]), BINS + 1))
        np.testing.assert_allclose(by_kind[kind].values, 100 * counts / len(values), rtol=1e-12)
        np.testing.assert_allclose(by_kind[kind].edges, edges, rtol=1e-12)
        assert by_kind[kind].values.sum() == pytest.approx(100)


def test_histogram_without_flipped_samples_shows_the_clean_ones() -> None:
    weights, flipped = samples()
    axes = drawn(weight_histogram(weights, torch.zeros_like(flipped), 3.7))
    assert [patch.get_label() for patch in axes.patches] == ["clean"]


def test_dots_are_the_samples_on_a_log1p_scale() -> None:
    kinds = {"clean": dots([0, -0.5, 2], [1, 1, 0.5]), "flipped": dots([9], [0.1])}
    axes = drawn(weight_against_loss(kinds, dots([0.5], [1]), most=12, top=2))
    clean, flipped, middle = axes.lines
    assert clean.get_xydata().tolist() == [[0, 1], [0, 1], [2, 0.5]]
    assert flipped.get_xydata().tolist() == [[9, 0.1]]
    assert middle.get_xydata().tolist() == [[0.5, 1]]
    at_0, at_1, at_3 = axes.transData.transform([(0, 0), (1, 0), (3, 0)])[:, 0]
    assert (at_3 - at_0) / (at_1 - at_0) == pytest.approx(2)  # log(4) / log(2)
    assert axes.get_xlim() == (0, 12)


@pytest.mark.parametrize(
    ("most", "labels"), [(4, "0 0.3 1 3"), (12, "0 1 3 10"), (2000, "0 3 30 100 300 1000")]
)
def test_ticks_of_losses_do_not_crowd(most: float, labels: str) -> None:
    axes = drawn(weight_against_loss({}, dots([], []), most=most, top=2))
    assert [text.get_text() for text in axes.get_xticklabels()] == labels.split()


def surface(vertices: np.ndarray) -> float:
    """Of a polygon, by the shoelace formula."""
    x, y = vertices.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def test_attention_areas_are_stacked_shares_and_an_unasked_teacher_is_blank() -> None:
    data = shares(4)
    data[0] = 0
    axes = drawn(attention_over_layers(data.tolist(), LAYERS, LAYERS))
    for number, area in enumerate(axes.patches):
        top, edges, floor = area.get_data()
        assert surface(area.get_path().vertices) == pytest.approx(float(data[:, number].sum()), rel=1e-6)
        np.testing.assert_allclose(top, data[:, : number + 1].sum(axis=1), rtol=1e-12)
        np.testing.assert_allclose(floor, data[:, :number].sum(axis=1), atol=1e-12)
        assert edges.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert axes.get_ylim() == (0, 1)
    assert [area.get_label() for area in axes.patches] == list(LAYERS)


def test_a_layer_has_one_colour_whatever_else_an_arm_looks_at() -> None:
    whole = drawn(attention_over_layers(shares().tolist(), LAYERS, LAYERS)).patches
    (alone,) = drawn(attention_over_layers([[1.0]], LAYERS[1:2], LAYERS)).patches
    assert alone.get_facecolor() == whole[1].get_facecolor()


def test_costs_are_points_with_whiskers_and_names() -> None:
    axes = drawn(costs([Spot("a", 0, 1, 90, NAN, NAN), Spot("b", 17, 4, 95, 94, 96)]))
    whiskers, points = axes.lines[::2], axes.lines[1::2]
    assert [point.get_xydata().tolist() for point in points] == [[[1, 90]], [[4, 95]]]
    assert list(whiskers[1].get_ydata()) == [94, 96]
    assert points[0].get_marker() != points[1].get_marker()
    assert [text.get_text() for text in axes.texts] == ["a", "b", "y"]
    assert axes.get_xlim()[0] == 0
    assert axes.get_ylim()[0] < 90 < 96 < axes.get_ylim()[1]


def test_names_of_points_do_not_lie_on_each_other() -> None:
    places = [(100.0, 100.0 + 3 * k) for k in range(12)]
    names = [f"arm-{k}" for k in range(12)]
    boxes = []
    for (x, y), name, side in zip(places, names, name_sides(places, names, 42, 460), strict=True):
        if side is not None:
            long = 6.8 * len(name)
            left = x + side[0] - {"left": 0, "right": long, "center": long / 2}[side[2]]
            boxes.append((left, y + side[1] - 3, left + long, y + side[1] + 11))
    assert 2 <= len(boxes) < 12
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


@pytest.mark.parametrize(
    ("draw", "error", "complaint"),
    [
        (lambda: attention_over_layers(shares(), LAYERS[:2], LAYERS), ValueError, r"\[T, 2\].*got \(5, 3\)"),
        (lambda: attention_over_layers([], LAYERS, LAYERS), ValueError, r"got \(0,\)"),
        (lambda: attention_over_layers(-shares(), LAYERS, LAYERS), ValueError, "minimum -"),
        (lambda: weight_histogram(torch.ones(3), torch.ones(3), 2), TypeError, "bool mask"),
        (lambda: weight_histogram(torch.ones(3), torch.ones(2) > 0, 2), ValueError, r"\(3,\) and \(2,\)"),
        (
            lambda: weight_against_loss({"all": dots([1, 2], [1])}, dots([], []), most=1, top=2),
            ValueError,
            r"loss and weights are both \[n\]",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        draw()
