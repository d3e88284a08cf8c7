"""The plots of a comparison: the charts of its page and how the weights are spread, each kind on a sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from metaweight.training.run_folder import RunFolder


def write_plots(study: Study, folder: Path) -> None:
    """A sheet of each kind of chart that there is something for, of samples and attention the first seed.

    FIGURE.png over the epochs, cost.png, weights.png, weights_over_time.png; for each arm that has some
    weight_against_loss.ARM.png and attention.ARM.png.
    """
    views, _ = weight_views(study)
    if (curve := curve_of(study)) is not None:
        _save(folder / f"{curve.figure}.png", curve.title, curve_panels(study, curve))
    _save(folder / "cost.png", "Cost", cost_panels(study))
    _save(folder / "weights.png", "Weights", histogram_panels(_means(views)))
    _save(folder / "weights_over_time.png", "Weights over time: median and quartiles", quartile_panels(views))
    _save_by_arm(folder, "weight_against_loss", "Weight against loss, last epoch", loss_panels(views))
    _save_by_arm(folder, "attention", "Attention over layers", attention_panels(study)[0])


def _save(path: Path, title: str, panels: Sequence[Panel]) -> None:
    if panels:
        save(panels, title, path)


def _save_by_arm(folder: Path, name: str, title: str, panels: Sequence[Panel]) -> None:
    for arm in dict.fromkeys(panel.arm for panel in panels):
        save([panel for panel in panels if panel.arm == arm], title, folder / f"{name}.{arm}.png")


def _means(views: Sequence[WeightView]) -> Mapping[tuple[str, str], tuple[Tensor, Tensor]]:
    """(arm, noise) -> mean weight over the epochs [n] and which samples are wrong, where that is known."""
    means = {}
    for view in views:
        if not view.flat and "flipped" in view.kinds:
            samples = RunFolder(view.run.folder).read_weights()
            assert samples.flipped is not None
            means[view.run.arm, view.run.noise] = samples.mean_weight(), samples.flipped
    return means
