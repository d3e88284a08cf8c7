"""What one run suspects, as the page shows it: how much, by weight, by class, row by row."""

from __future__ import annotations

from dataclasses import dataclass

from metaweight.report.charts.panel import Panel
from metaweight.report.charts.suspects import suspect_panel
from metaweight.report.own_rows import class_names
from metaweight.report.page.study import ReadRun
from metaweight.report.page.suspect_classes import Classes, by_class
from metaweight.report.page.suspect_rows import Rows, rows_of
from metaweight.report.statistics.belief import Belief
from metaweight.report.suspects import Suspects
from metaweight.training.run_folder import RunFolder

FILES = ("rows.csv", "pairs.csv", "weights.csv")


@dataclass(frozen=True)
class Suspicion:
    """What one run suspects."""

    run: ReadRun
    rows: int
    suspects: int
    sentence: str
    """What to do first."""
    cut: float | None
    """Suspects weigh so much or less; None where nobody is one."""
    disagreed: bool
    """To be a suspect, a row's label must also be another than the student's."""
    belief: Belief | None
    chart: Panel
    """Rows by weight."""
    classes: Classes | None
    listed: Rows
    files: tuple[str, ...]
    """Of the run's folder, that have every row."""

    def lead(self, arm: str = "") -> str:
        """What a suspect is here; begins with ``arm``, where there are several."""
        text = f"{arm}{self.suspects:,} of {self.rows:,} rows are suspects, the least weight first."
        if self.cut is None:
            return (
                f"{arm}No weight parts wrong rows from right ones; below stand all, the least weight first."
            )
        also = ", and the student says another label" if self.disagreed else ""
        return f"{text} A suspect's weight is {self.cut:.3g} or less{also}."


def suspicion_of(run: ReadRun) -> Suspicion | None:
    """Of a run, if it is finished and its weights tell rows apart; None else.

    Raises ValueError where its files are damaged.
    """
    if run.state != "finished" or not (run.folder / "weights.npz").is_file():
        return None
    given = RunFolder(run.folder).read_weights()
    means = given.own.mean_weight()
    means = means[means.isfinite()]
    if not len(means) or bool((means == means[0]).all()):  # nothing was told apart
        return None
    found = Suspects(given)
    names = class_names(run.folder) or ()
    weights = found.samples.mean_weight()[found.order].double().numpy()
    suspect = found.is_suspect[found.order].numpy()
    return Suspicion(
        run,
        len(weights),
        int(suspect.sum()),
        f"{found.sentence}{': look at these first, below' if suspect.any() else ''}.",
        found.cut,
        not found.by_probes and found.samples.probabilities is not None,
        found.belief,
        suspect_panel(weights, suspect, found.cut),
        by_class(found, weights, names),
        rows_of(found, run, names),
        tuple(name for name in FILES if (run.folder / name).is_file()),
    )
