"""The histogram of suspects: every row in a bar, an axis that fits, the cut-off where it is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metaweight.report.charts.panel import KINDS, style
from metaweight.report.charts.suspects import BINS, suspect_panel


@pytest.fixture(autouse=True)
def styled() -> Iterator[None]:
    with style():
        yield


def drawn(weights: np.ndarray, suspect: np.ndarray, cut: float | None) -> tuple[Axes, str]:
    panel = suspect_panel(weights, suspect, cut)
    axes = Figure().add_axes((0.1, 0.1, 0.8, 0.8))
    panel.draw_on(axes)
    return axes, panel.x


def bars(axes: Axes) -> dict[str, np.ndarray]:
    """Rows of each kind by bar, without what they stand upon."""
    found = {}
    for stairs in axes.patches:
        values, _, baseline = stairs.get_data()
        found[str(stairs.get_label())] = values - baseline
    return found


def test_every_row_stands_in_its_bar_once_suspects_below() -> None:
    random = np.random.default_rng(0)
    weights = random.random(500) * 1.5
    axes, _ = drawn(weights, weights <= 0.4, 0.4)
    edges = np.linspace(weights.min(), weights.max(), BINS + 1)
    found = bars(axes)
    assert np.array_equal(found["suspects"], np.histogram(weights[weights <= 0.4], edges)[0])
    assert np.array_equal(found["suspects"] + found["others"], np.histogram(weights, edges)[0])
    assert (axes.get_xlim(), axes.get_ylim()[0]) == ((weights.min(), weights.max()), 0)
    assert axes.get_ylim()[1] == (found["suspects"] + found["others"]).max()
    colours = [tuple(stairs.get_facecolor()) for stairs in axes.patches]
    assert colours[0] != colours[1]
    assert KINDS["flipped"] != KINDS["clean"]


@pytest.mark.parametrize(("cut", "side"), [(0.2, "left"), (1.8, "right")])
def test_the_cut_off_is_written_on_the_side_that_has_room(cut: float, side: str) -> None:
    axes, _ = drawn(np.linspace(0, 2, 50), np.linspace(0, 2, 50) <= cut, cut)
    (line,) = axes.lines
    assert list(line.get_xdata()) == [cut, cut]
    (text,) = (text for text in axes.texts if "cut-off" in text.get_text())
    assert (text.get_text(), text.get_ha()) == (f"cut-off {cut:.3g}", side)


def test_without_a_cut_off_none_is_drawn() -> None:
    axes, _ = drawn(np.linspace(0, 1, 50), np.zeros(50, bool), None)
    assert len(axes.lines) == 0
    assert bars(axes)["suspects"].sum() == 0


def test_a_few_far_above_share_the_last_bar_and_it_says_so() -> None:
    weights = np.concatenate([np.linspace(0, 1, 995), [50.0] * 5])
    axes, said = drawn(weights, weights < 0.1, 0.1)
    high = axes.get_xlim()[1]
    assert high < 3
    assert said == f"weight; 5 rows weigh more than {high:.3g} and stand in the last bar"
    found = bars(axes)
    assert found["others"][-1] == 5
    assert found["suspects"].sum() + found["others"].sum() == 1000


def test_equal_weights_are_one_bar_and_what_does_not_fit_is_refused() -> None:
    axes, _ = drawn(np.ones(7), np.zeros(7, bool), None)
    assert axes.get_xlim()[0] < 1 < axes.get_xlim()[1]
    assert bars(axes)["others"].max() == 7
    for weights, suspect in ((np.ones(3), np.zeros(2, bool)), (np.ones((2, 2)), np.zeros((2, 2), bool))):
        with pytest.raises(ValueError, match=r"are both \[n\]"):
            suspect_panel(weights, suspect, None)
    with pytest.raises(ValueError, match=r"are both \[n\]"):
        suspect_panel(np.empty(0), np.empty(0, bool), None)
