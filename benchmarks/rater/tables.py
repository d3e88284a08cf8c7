"""The page of the benchmark: what raters find in the other half, and what is trained on what they keep."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from benchmarks.own.tables import with_spread
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
        rows = _rows(own)
        parts += [
            f"## Wrong labels: {wrong}",
            markdown_table(HEADINGS[: len(rows[0])], rows),
            _about(own, keep),
        ]
    return "\n\n".join(parts)


def _rows(trials: Sequence[Trial]) -> list[tuple[str, ...]]:
    rows = []
    for data in dict.fromkeys(one.data for one in trials):
        own = [one for one in trials if one.data == data]
        everything = {one.seed: one.accuracy for one in own if one.arm == "all" and one.accuracy is not None}
        for arm in dict.fromkeys(one.arm for one in own):
            some = [one for one in own if one.arm == arm]
            reached = {one.seed: one.accuracy for one in some if one.accuracy is not None}
            apart = [accuracy - everything[seed] for seed, accuracy in reached.items()]
            each = [one.accuracy_per_class for one in some if one.accuracy_per_class is not None]
            areas = [one.auroc for one in some if one.auroc is not None]
            rows.append(
                (
                    data,
                    arm,
                    _mean(areas, 2),
                    f"{fmean(one.clean for one in some):.0%}",
                    *(_mean(values, 1) for values in ([*reached.values()], apart, each) if everything),
                )
            )
    return rows


def _mean(values: Sequence[float], digits: int) -> str:
    return with_spread(values, digits) if values else ""


def _about(trials: Sequence[Trial], keep: float) -> str:
    rows = max(one.rows for one in trials)
    seeds = len({one.seed for one in trials})
    shares = [one.share for one in trials]
    kept = f"Each arm keeps {keep:.0%} of the new rows."
    if any(one.accuracy is not None for one in trials):
        kept = (
            "`all`: every new row is kept, `right`: those whose label is right, the others: "
            f"{keep:.0%} of the new rows, and the accuracy on test rows of a plain student on them."
        )
    return (
        f"At most {rows:,} new rows, {min(shares):.0%} to {max(shares):.0%} of their labels wrong; "
        f"{seeds} seeds, mean ± standard deviation. {kept} `loss`: the probability that the student of the "
        "first teacher's run gives to the label, `loss, plain` that of a plainly trained one; `cleanlab`: a "
        "forest (of images the student) cross-validated on the new rows. `TEACHER, N students`: one teacher "
        "through N whole runs, whose students start anew; the last one rates."
    )
