"""The pictures of a comparison, from its runs and their folders; those of samples show the first seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from metaweight.report import plots
from metaweight.report.page import ReadRun, Study
from metaweight.tasks.figures import Curve
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights


def draw_pictures(study: Study, folder: Path) -> None:
    """All pictures of a comparison: curves, weights where it is known what is wrong, attention."""
    runs = [run for run in study.by_seed if run.state == "finished"]
    draw_curves(runs, study.presentation.curve, folder)
    draw_weights(runs, folder)
    draw_attention(runs, folder)


def draw_curves(runs: Sequence[ReadRun], curve: Curve, folder: Path) -> None:
    """FIGURE.png: a figure of the epochs' rows over all seeds, a panel for each kind of noise.

    No picture where no epoch has the figure.
    """
    panels: dict[str, dict[str, list[plots.Curve]]] = {}
    for run in runs:
        rows = [row for row in run.epochs if curve.figure in row]
        points = ([_finite(row["epoch"]) for row in rows], [_finite(row[curve.figure]) for row in rows])
        panels.setdefault(run.noise, {}).setdefault(run.arm, []).append(points)
    if not any(epochs for arms in panels.values() for seeds in arms.values() for epochs, _ in seeds):
        return
    figure = plots.accuracy_by_noise(panels, curve.title, y=curve.axis)
    plots.save(figure, folder / f"{curve.figure}.png")


def draw_weights(runs: Sequence[ReadRun], folder: Path) -> None:
    """weights.png and a weight_against_loss.TEACHER.png, where it is known which samples are wrong."""
    samples: dict[str, dict[str, SampleWeights]] = {}
    for run in _first_seed(runs):
        kept = (run.folder / "weights.npz").is_file()
        if kept and run.config.teacher != "uniform":  # every weight is 1
            weights = RunFolder.open(run.folder).read_weights()
            samples.setdefault(run.arm, {})[run.noise] = weights
    panels = {
        teacher: {noise: (s.mean_weight(), s.flipped) for noise, s in row.items() if s.flipped is not None}
        for teacher, row in samples.items()
    }
    if panels:
        plots.save(plots.weights_by_teacher(panels), folder / "weights.png")
    for teacher, row in samples.items():
        dots = {
            noise: (s.mean_weight(), s.loss.nanmean(dim=0), s.flipped)
            for noise, s in row.items()
            if s.flipped is not None
        }
        title = f"Weight against loss, {teacher} (means over the epochs)"
        figure = plots.weights_against_losses(dots, title)
        plots.save(figure, folder / f"weight_against_loss.{teacher}.png")


def draw_attention(runs: Sequence[ReadRun], folder: Path) -> None:
    """An attention.TEACHER.png for each teacher that attends to layers."""
    looked: dict[str, list[ReadRun]] = {}
    for run in _first_seed(runs):
        if run.attention:
            looked.setdefault(run.arm, []).append(run)
    for teacher, rows in looked.items():
        figure = plots.attention_by_noise(
            {run.noise: run.attention for run in rows},
            rows[0].layers,
            f"Attention over layers, {teacher}",
        )
        plots.save(figure, folder / f"attention.{teacher}.png")


def _finite(value: float | None) -> float:
    return math.nan if value is None else value


def _first_seed(runs: Sequence[ReadRun]) -> list[ReadRun]:
    return [run for run in runs if run.config.seed == runs[0].config.seed]
