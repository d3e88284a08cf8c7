"""What stands under the table of images: what became of the wrong labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from metaweight.tasks.figures import markdown_table
from metaweight.tasks.outcome import Finished
from metaweight.training.fates import HEADINGS, Fates
from metaweight.training.run_folder import RunFolder

SHOWN = ("learnt", "corrected", "kept", "weight")


def notes(runs: Sequence[Finished]) -> Sequence[str]:
    """A Markdown paragraph for each kind of noise in which labels are wrong: means over the seeds."""
    blocks: dict[str, dict[str, list[Fates]]] = {}
    for run in runs:
        found = RunFolder.open(run.folder).read_weights().fates()
        if found is not None:
            blocks.setdefault(run.noise, {}).setdefault(run.arm, []).append(found)
    return [
        f"**What became of the wrong labels, noise {noise}**\n\n{_table(arms)}"
        for noise, arms in blocks.items()
    ]


def _table(arms: dict[str, list[Fates]]) -> str:
    rows = []
    for arm, seeds in arms.items():
        means = [fmean(getattr(one, name) for one in seeds) for name in SHOWN]
        rows.append((arm, *("-" if math.isnan(mean) else f"{100 * mean:.0f}" for mean in means)))
    return markdown_table(("teacher", *(HEADINGS[name] for name in SHOWN)), rows)
