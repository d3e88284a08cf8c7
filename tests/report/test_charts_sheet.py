"""Sheets of charts: every panel has its place, no text lies on another, nothing is overwritten."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from grid_folders import make_grid
from matplotlib.figure import Figure
from slowly import covering

from metaweight.report import plots
from metaweight.report.charts.curves import Series, curves
from metaweight.report.charts.panel import Panel, style
from metaweight.report.charts.sample_weights import histogram_panels
from metaweight.report.charts.sheet import save, sheet
from metaweight.report.page import read_study
from metaweight.report.plots import write_plots
from metaweight.report.troubles import Troubles

PLOTS = [
    *("attention.attention.png", "cost.png", "test_accuracy.png", "weight_against_loss.attention.png"),
    *("weight_against_loss.mw-net.png", "weights.png", "weights_over_time.png"),
]
ARMS = ("uniform", "class-balanced", "knn", "l2rw", "mw-net", "surface", "mlp", "attention", "memory")


def panels(arms: int, noises: int, *, wide: bool = False) -> list[Panel]:
    lines = [Series(name, n, (1, 2, 3), (n, n, n), (n, n, n), (n, n, n)) for n, name in enumerate(ARMS)]
    return [
        Panel(
            f"arm-{arm}", f"noise@{noise}", "", "epoch", "test accuracy, %", curves(lines, (0, 9)), wide=wide
        )
        for noise in range(noises)
        for arm in range(arms)
    ]


def texts(figure: Figure) -> list[tuple[str, object]]:
    labels = [*figure.texts, *figure.legends[0].get_texts()]
    for axes in figure.axes:
        labels += [*axes.texts, axes.xaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = axis.get_view_interval()
            labels += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [(text.get_text(), text.get_window_extent()) for text in labels if text.get_text()]


@pytest.mark.parametrize(
    ("arms", "noises", "wide"), covering([(1, 1), (4, 1), (3, 2), (2, 3), (2, 5)], [True, False])
)
def test_no_texts_overlap_and_every_panel_is_there(arms: int, noises: int, wide: bool) -> None:
    with style():
        figure = sheet(panels(arms, noises, wide=wide), "What the weights did")
        figure.draw_without_rendering()
        extents = texts(figure)
    assert len(figure.axes) == arms * noises
    assert len({axes.get_position().bounds for axes in figure.axes}) == arms * noises
    for (one, a), (other, b) in itertools.combinations(extents, 2):
        assert not a.overlaps(b), f"{one!r} overlaps {other!r}"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(ARMS)


def test_an_arm_is_a_row_and_a_kind_of_noise_a_column_also_where_one_is_missing() -> None:
    with style():
        figure = sheet([panel for panel in panels(2, 3) if panel.title != "arm-0, noise@1"], "Weights")
    places = {axes.texts[-1].get_text(): axes.get_position() for axes in figure.axes}
    assert len({places[f"arm-1, noise@{n}"].y0 for n in range(3)}) == 1
    assert places["arm-0, noise@2"].x0 == places["arm-1, noise@2"].x0
    assert places["arm-0, noise@2"].y0 > places["arm-1, noise@2"].y0


def test_long_names_are_cut_to_their_panel() -> None:
    panel = Panel("an-arm" * 20, "noise", "", "x", "y", curves([], (0, 1)))
    with style():
        figure = sheet([panel] * 3, "Weights")
        figure.draw_without_rendering()
        widths = [axes.texts[-1].get_window_extent().width for axes in figure.axes]
    assert all(width < 300 for width in widths)
    assert figure.axes[0].texts[-1].get_text().endswith("…")


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        sheet([], "Weights")


def test_save_writes_a_png_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    save(panels(1, 2), "Weights", path)
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert 1200 <= int.from_bytes(head[16:20], "big") <= 1900
    with pytest.raises(FileExistsError):
        save(panels(1, 2), "Weights", path)
    again = tmp_path / "again.png"
    save(panels(1, 2), "Weights", again)
    assert again.read_bytes() == path.read_bytes()


def test_plots_of_a_comparison_are_those_of_its_page_and_the_histograms(tmp_path: Path) -> None:
    make_grid(tmp_path / "grid", noises=("uniform@0.4", "cluster@0.8"))
    troubles = Troubles()
    write_plots(read_study(tmp_path / "grid"), tmp_path, troubles)
    assert troubles.found == []
    assert sorted(path.name for path in tmp_path.glob("*.png")) == PLOTS


def test_a_comparison_without_weights_and_epochs_has_no_plots(tmp_path: Path) -> None:
    names = [cell.name for cell in make_grid(tmp_path / "grid").cells()]
    make_grid(tmp_path / "empty", missing=names)
    write_plots(read_study(tmp_path / "empty"), tmp_path, Troubles())
    assert list(tmp_path.glob("*.png")) == []


def test_a_plot_that_cannot_be_drawn_is_named_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_grid(tmp_path / "grid")
    before = plots.save

    def broken(some: object, title: str, path: Path) -> None:
        if title == "Cost":
            raise RuntimeError("no such font")
        before(some, title, path)

    monkeypatch.setattr(plots, "save", broken)
    monkeypatch.setattr(plots, "attention_panels", lambda _: 1 / 0)
    troubles = Troubles()
    write_plots(read_study(tmp_path / "grid"), tmp_path, troubles)
    assert troubles.found == [
        "plots/cost.png could not be drawn: RuntimeError: no such font",
        "plots/attention could not be drawn: ZeroDivisionError: division by zero",
    ]
    missing = {"cost.png", "attention.attention.png"}
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [n for n in PLOTS if n not in missing]


def test_where_nobody_knows_which_are_bad_the_weights_are_drawn_as_one_kind() -> None:
    weights = torch.tensor([0.2, 1.0, 1.8, float("nan")])
    (panel,) = histogram_panels({("mlp", "none"): (weights, None)})
    with style():
        figure = sheet([panel], "Weights")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all"]
    with pytest.raises(ValueError, match=r"both \[n\]"):
        histogram_panels({("mlp", "none"): (weights, torch.zeros(3, dtype=torch.bool))})
