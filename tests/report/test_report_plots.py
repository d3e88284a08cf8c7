"""Plots: what is drawn is what was given, inside the canvas, without touching pyplot."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from metaweight.report import plots
from metaweight.report.small_multiples import line_styles

NOISES = ("none", "uniform@0.4", "cluster@0.8")
TEACHERS = ("uniform", "class-balanced", "knn", "l2rw", "mw-net", "surface", "mlp", "attention", "memory")
LAYERS = ("block2", "block3", "hidden")


def curves(seeds: int = 3, epochs: int = 6):
    generator = np.random.default_rng(0)
    return {
        t: [(range(1, epochs + 1), 80 + 10 * generator.random(epochs)) for _ in range(seeds)]
        for t in TEACHERS
    }


def samples(n: int = 200, *, noise: str = "uniform@0.4"):
    generator = torch.Generator().manual_seed(1)
    flipped = torch.rand(n, generator=generator) < (0 if noise == "none" else 0.4)
    weights, loss = 2 * torch.rand(n, generator=generator), 9 * torch.rand(n, generator=generator)
    weights[0] = loss[0] = float("nan")
    return weights, loss, flipped


def shares(epochs: int = 5):
    return torch.rand(epochs, 3, generator=torch.Generator().manual_seed(2)).softmax(dim=1)


def weights_of_all():
    return {t: {n: samples(noise=n)[::2] for n in NOISES} for t in TEACHERS}


FIGURES = {
    "accuracy": lambda: plots.accuracy_over_time(curves(), "Test accuracy, digits"),
    "accuracy grid": lambda: plots.accuracy_by_noise(dict.fromkeys(NOISES, curves())),
    "one seed, one epoch": lambda: plots.accuracy_over_time(curves(1, 1)),
    "histogram": lambda: plots.weight_histogram(*samples()[::2]),
    "histogram grid": lambda: plots.weights_by_teacher(weights_of_all()),
    "loss": lambda: plots.weight_against_loss(*samples()),
    "loss grid": lambda: plots.weights_against_losses({n: samples(noise=n) for n in NOISES}),
    "attention": lambda: plots.attention_over_layers(shares(), LAYERS),
    "attention grid": lambda: plots.attention_by_noise(dict.fromkeys(NOISES, shares(30)), LAYERS),
    "attention, one epoch": lambda: plots.attention_over_layers(shares(1).tolist(), LAYERS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_clipped_and_no_texts_overlap(name: str) -> None:
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox()
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= figure.get_figwidth()
    assert drawn.y1 <= figure.get_figheight()
    labels = [figure._supylabel, figure._suptitle, *figure.legends[0].get_texts()]
    for axes in figure.axes:
        labels += [axes.title, axes.xaxis.label]
        if axes.xaxis.get_tick_params()["labelbottom"]:
            low, high = axes.get_xlim()
            labels += [tick.label1 for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    extents = [(text.get_text(), text.get_window_extent()) for text in labels if text.get_text()]
    for (one, a), (other, b) in itertools.combinations(extents, 2):
        assert not a.overlaps(b), f"{one!r} overlaps {other!r}"
    assert len(extents) >= 5


def test_epochs_are_whole_numbers_also_where_there_is_one() -> None:
    for name in ("attention, one epoch", "one seed, one epoch", "attention"):
        (axes,) = FIGURES[name]().axes
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks
        assert all(tick == round(tick) for tick in ticks)


def test_lines_are_means_and_bands_are_one_deviation() -> None:
    data = curves()
    (axes,) = plots.accuracy_over_time(data).axes
    assert [line.get_label() for line in axes.lines] == list(TEACHERS)
    for line, band, seeds in zip(axes.lines, axes.collections, data.values(), strict=True):
        values = np.array([accuracy for _, accuracy in seeds])
        np.testing.assert_allclose(line.get_ydata(), values.mean(0), rtol=1e-13)
        np.testing.assert_array_equal(line.get_xdata(), range(1, 7))
        edge = band.get_paths()[0].vertices[:, 1]
        assert edge.max() == pytest.approx((values.mean(0) + values.std(0, ddof=1)).max(), rel=1e-12)
        assert edge.min() == pytest.approx((values.mean(0) - values.std(0, ddof=1)).min(), rel=1e-12)
    (axes,) = plots.accuracy_over_time(curves(1)).axes
    assert len(axes.collections) == 0


def test_curves_are_drawn_where_all_seeds_have_a_value() -> None:
    data = {"mlp": [((2, 4, 6), (1.0, 2.0, 3.0)), ((6, 2), (5.0, 3.0))]}
    (line,) = plots.accuracy_over_time(data).axes[0].lines
    assert line.get_xdata().tolist() == [2, 6]
    assert line.get_ydata().tolist() == [2.0, 4.0]
    for seeds in ([((1,), (1.0,)), ((2,), (1.0,))], []):
        with pytest.raises(ValueError, match="mlp share no epoch"):
            plots.accuracy_over_time({"mlp": seeds})


def test_a_teacher_looks_the_same_in_every_panel_and_like_no_other() -> None:
    figure = plots.accuracy_by_noise({"a": {t: curves()[t] for t in TEACHERS[3:]}, "b": curves()})
    looks = [
        {line.get_label(): (line.get_color(), line.get_linestyle()) for line in a.lines} for a in figure.axes
    ]
    assert looks[0].items() <= looks[1].items()
    assert len(set(looks[1].values())) == len(TEACHERS)
    styles = line_styles(map(str, range(24)))
    assert len({str(style) for style in styles.values()}) == 24
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*TEACHERS[3:], *TEACHERS[:3]]


def heights(patch) -> np.ndarray:
    """Of the bars of a stepfilled histogram, from its outline."""
    outline = patch.get_xy()
    return outline[1 : 2 * plots.BINS + 1 : 2, 1]


def test_histograms_share_their_bins_and_each_kind_sums_to_100() -> None:
    weights, _, flipped = samples()
    weights[1] = 3.7
    (axes,) = plots.weight_histogram(weights, flipped).axes
    by_kind = {patch.get_label(): heights(patch) for patch in axes.patches}
    bins = np.linspace(0, float(weights[1]), plots.BINS + 1)
    for kind, part in (("clean", ~flipped), ("flipped", flipped)):
        values = weights[part & weights.isfinite()].numpy()
        counts, _ = np.histogram(values, bins)
        np.testing.assert_allclose(by_kind[kind], 100 * counts / len(values), rtol=1e-12)
        assert by_kind[kind].sum() == pytest.approx(100)


def test_histogram_without_flipped_samples_shows_the_clean_ones_up_to_2() -> None:
    weights, _, flipped = samples(noise="none")
    (axes,) = plots.weight_histogram(weights, flipped).axes
    assert [patch.get_label() for patch in axes.patches] == ["clean"]
    assert axes.patches[0].get_xy()[:, 0].max() == 2.0


def test_dots_are_the_samples_that_were_seen() -> None:
    weights, loss, flipped = samples()
    (axes,) = plots.weight_against_loss(weights, loss, flipped).axes
    clean, wrong = (dots.get_offsets().data for dots in axes.collections)
    np.testing.assert_array_equal(clean, torch.stack([loss, weights], 1)[~flipped & weights.isfinite()])
    np.testing.assert_array_equal(wrong, torch.stack([loss, weights], 1)[flipped & weights.isfinite()])
    at_0, at_1, at_3 = axes.transData.transform([(0, 0), (1, 0), (3, 0)])[:, 0]
    assert (at_3 - at_0) / (at_1 - at_0) == pytest.approx(2)  # log(4) / log(2)
    assert axes.get_xlim()[1] > float(loss[1:].max())


def surface(vertices: np.ndarray) -> float:
    """Of a polygon, by the shoelace formula."""
    x, y = vertices.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def test_attention_areas_are_stacked_shares_and_an_unasked_teacher_is_blank() -> None:
    data = shares(4)
    data[0] = 0
    (axes,) = plots.attention_over_layers(data, LAYERS).axes
    for number, area in enumerate(axes.collections):
        vertices = area.get_paths()[0].vertices
        assert surface(vertices) == pytest.approx(float(data[:, number].sum()), rel=1e-6)
        for epoch in range(4):
            inside = np.isclose(vertices[:, 0], epoch + 0.5)
            expected = float(data[epoch, : number + 1].sum())
            assert np.isclose(vertices[inside, 1], expected).any()
    assert axes.get_ylim() == (0, 1)
    assert axes.get_xlim() == (0.5, 4.5)
    assert [area.get_label() for area in axes.collections] == list(LAYERS)


@pytest.mark.parametrize(
    ("draw", "error", "complaint"),
    [
        (lambda: plots.accuracy_by_noise({}), ValueError, "nothing to draw"),
        (lambda: plots.weights_by_teacher({}), ValueError, "nothing to draw"),
        (lambda: plots.weights_against_losses({}), ValueError, "nothing to draw"),
        (lambda: plots.attention_over_layers(shares(), LAYERS[:2]), ValueError, r"\[T, 2\].*got \(5, 3\)"),
        (lambda: plots.attention_over_layers([], LAYERS), ValueError, r"got \(0,\)"),
        (lambda: plots.attention_over_layers(-shares(), LAYERS), ValueError, "minimum -"),
        (lambda: plots.weight_histogram(torch.ones(3), torch.ones(3)), TypeError, "bool mask"),
        (lambda: plots.weight_histogram(torch.ones(3), torch.ones(2) > 0), ValueError, r"\(3,\) and \(2,\)"),
        (
            lambda: plots.weight_against_loss(torch.ones(2), torch.ones(3), torch.ones(2) > 0),
            ValueError,
            r"loss and flipped are both \[n\]",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        draw()


def test_save_writes_a_png_of_1200_pixels_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "loss.png"
    plots.save(FIGURES["loss"](), path)
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(head[16:20], "big") == 1200
    with pytest.raises(FileExistsError):
        plots.save(FIGURES["attention"](), path)


def test_plots_load_matplotlib_late_and_pyplot_never(tmp_path: Path) -> None:
    code = (
        "import sys, torch\n"
        "from metaweight.report import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "figure = plots.weight_histogram(torch.ones(4), torch.tensor([True, False] * 2))\n"
        f"plots.save(figure, {str(tmp_path / 'x.png')!r})\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
