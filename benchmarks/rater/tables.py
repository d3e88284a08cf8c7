"""The page of the benchmark: what raters find in the other half, and what is trained on what they keep."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from benchmarks.own.tables import mean_and_spread
from benchmarks.rater.trial import Trial
from metaweight.core.markdown import markdown_table

HEADINGS = (
    "set",
    "arm",
    "AUROC",
    "right among the kept",
    "accuracy, %",
    "less all rows",
    "kept by class, %",
)


def to_markdown(trials: Sequence[Trial], *, keep: float) -> str:
    """A table for each kind of wrong labels."""
    parts = []
    for wrong in dict.fromkeys(one.wrong for one in trials):
        own = [one for one in trials if one.wrong == wrong]
        parts += [f"## Wrong labels: {wrong}", markdown_table(HEADINGS, _rows(own)), _about(own, keep)]
    return "\n\n".join(parts)


def _rows(trials: Sequence[Trial]) -> list[tuple[str, ...]]:
    rows = []
    for data in dict.fromkeys(one.data for one in trials):
        own = [one for one in trials if one.data == data]
        everything = {one.seed: one.accuracy for one in own if one.arm == "all"}
        for arm in dict.fromkeys(one.arm for one in own):
            some = [one for one in own if one.arm == arm]
            apart = [one.accuracy - everything[one.seed] for one in some]
            each = [one.accuracy_per_class for one in some if one.accuracy_per_class is not None]
            areas = [one.auroc for one in some if one.auroc is not None]
            rows.append(
                (
                    data,
                    arm,
                    mean_and_spread(areas, 2) if areas else "",
                    f"{fmean(one.clean for one in some):.0%}",
                    mean_and_spread([one.accuracy for one in some], 1),
                    mean_and_spread(apart, 1),
                    mean_and_spread(each, 1) if each else "",
                )
            )
    return rows


def _about(trials: Sequence[Trial], keep: float) -> str:
    rows = max(one.rows for one in trials)
    seeds = len({one.seed for one in trials})
    shares = [one.share for one in trials]
    return (
        f"At most {rows:,} new rows, {min(shares):.0%} to {max(shares):.0%} of their labels wrong; "
        f"{seeds} seeds, mean ± standard deviation. `all`: every new row is kept, `right`: those whose label "
        f"is right, the others: {keep:.0%} of the new rows, and the accuracy on test rows of a plain student "
        "on them. `loss`: the probability that the student of the first teacher's run gives to the label, "
        "`loss, plain` that of a plainly trained one; `cleanlab`: a forest (of images the student) "
        "cross-validated on the new rows. `TEACHER, N students`: one teacher through N whole runs, whose "
        "students start anew; the last one rates."
    )
