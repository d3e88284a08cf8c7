"""The plots of a comparison: the charts of its page and how the weights are spread, each kind on a sheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from metaweight.report.charts.costs import cost_panels
from metaweight.report.charts.curves import curve_of, curve_panels
from metaweight.report.charts.panel import Panel
from metaweight.report.charts.sample_weights import histogram_panels, loss_panels, quartile_panels
from metaweight.report.charts.shares import attention_panels
from metaweight.report.charts.sheet import save
from metaweight.report.page.samples import WeightView, weight_views
from metaweight.report.page.study import Study
from metaweight.report.troubles import Troubles
from metaweight.training.run_folder import RunFolder


def write_plots(study: Study, folder: Path, troubles: Troubles) -> None:
    """A sheet of each kind of chart that there is something for, of samples and attention the first seed.

    FIGURE.png over the epochs, cost.png, weights.png, weights_over_time.png; for each arm that has some
    weight_against_loss.ARM.png and attention.ARM.png.  ``troubles`` has what cannot be drawn or written.
    """
    views, _ = weight_views(study)
    curve = curve_of(study)
    sheets: list[tuple[str, str, Callable[[], Sequence[Panel]]]] = [
        ("cost", "Cost", lambda: cost_panels(study)),
        ("weights", "Weights", lambda: histogram_panels(_means(views))),
        (
            "weights_over_time",
            "Weights over time: median and quartiles",
            lambda: quartile_panels(views),
        ),
    ]
    if curve is not None:
        sheets.insert(0, (curve.figure, curve.title, lambda: curve_panels(study, curve)))
    for name, title, panels in sheets:
        _save(folder / f"{name}.png", title, panels, troubles)
    by_arm: list[tuple[str, str, Callable[[], Sequence[Panel]]]] = [
        ("weight_against_loss", "Weight against loss, last epoch", lambda: loss_panels(views)),
        ("attention", "Attention over layers", lambda: attention_panels(study)[0]),
    ]
    for name, title, panels in by_arm:
        every = troubles.attempt(f"plots/{name}", panels, lambda _: [])
        for arm in dict.fromkeys(panel.arm for panel in every):
            own = [panel for panel in every if panel.arm == arm]
            _save(folder / f"{name}.{arm}.png", title, partial(list, own), troubles)


def _save(path: Path, title: str, panels: Callable[[], Sequence[Panel]], troubles: Troubles) -> None:
    def draw() -> None:
        if found := panels():
            save(found, title, path)

    troubles.attempt(f"plots/{path.name}", draw, lambda _: None)


def _means(views: Sequence[WeightView]) -> Mapping[tuple[str, str], tuple[Tensor, Tensor | None]]:
    """(arm, noise) -> mean weight over the epochs [n] and which samples are wrong, where that is known."""
    means = {}
    for view in views:
        if not view.flat:
            samples = RunFolder(view.run.folder).read_weights().own
            means[view.run.arm, view.run.noise] = samples.mean_weight(), samples.flipped
    return means
