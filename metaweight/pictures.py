"""The pictures of a comparison, drawn from its results and its runs' folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metaweight.compare import CellResult
from metaweight.experiment import Outcome
from metaweight.report import plots
from metaweight.report.record import RunFolder, SampleWeights


def draw(results: Sequence[CellResult], folder: Path) -> None:
    """Write accuracy.png, weights.png, weight_against_loss.png and attention.png below ``folder``/plots.

    Accuracy over all seeds; the pictures of samples show each teacher's first seed.
    """
    target = folder / "plots"
    target.mkdir(exist_ok=True)
    done = [(r, r.outcome) for r in results if r.outcome is not None]
    plots.save(plots.accuracy_by_noise(_curves(done)), target / "accuracy.png")
    first = [r for r, _ in done if r.cell.config.seed == results[0].cell.config.seed]
    samples = {r.cell.name: RunFolder.open(r.folder).read_weights() for r in first}
    by_teacher: dict[str, dict[str, SampleWeights]] = {}
    for result in first:
        row = by_teacher.setdefault(result.cell.config.teacher, {})
        row[result.cell.noise] = samples[result.cell.name]
    panels = {
        teacher: {noise: (s.mean_weight(), s.flipped) for noise, s in row.items() if s.flipped is not None}
        for teacher, row in by_teacher.items()
        if teacher != "uniform"  # every weight is 1
    }
    if panels:
        plots.save(plots.weights_by_teacher(panels), target / "weights.png")
    for teacher, row in by_teacher.items():
        if teacher == "uniform":
            continue
        dots = {
            noise: (s.mean_weight(), s.loss.nanmean(dim=0), s.flipped)
            for noise, s in row.items()
            if s.flipped is not None
        }
        title = f"Weight against loss, {teacher} (means over the epochs)"
        figure = plots.weights_against_losses(dots, title)
        plots.save(figure, target / f"weight_against_loss.{teacher}.png")
    _draw_attention([(r, o) for r, o in done if r in first and o.attention], target)


def _curves(done: Sequence[tuple[CellResult, Outcome]]) -> dict[str, dict[str, list[plots.Curve]]]:
    panels: dict[str, dict[str, list[plots.Curve]]] = {}
    for result, outcome in done:
        rows = [row for row in outcome.history.epochs if "test_accuracy" in row]
        curve = ([int(row["epoch"]) for row in rows], [row["test_accuracy"] for row in rows])
        panel = panels.setdefault(result.cell.noise, {})
        panel.setdefault(result.cell.config.teacher, []).append(curve)
    return panels


def _draw_attention(looked: Sequence[tuple[CellResult, Outcome]], target: Path) -> None:
    by_teacher: dict[str, list[tuple[CellResult, Outcome]]] = {}
    for result, outcome in looked:
        by_teacher.setdefault(result.cell.config.teacher, []).append((result, outcome))
    for teacher, rows in by_teacher.items():
        figure = plots.attention_by_noise(
            {result.cell.noise: outcome.attention for result, outcome in rows},
            rows[0][1].layers,
            f"Attention over layers, {teacher}",
        )
        plots.save(figure, target / f"attention.{teacher}.png")
