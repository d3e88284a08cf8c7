"""What stands under the table of images: what became of the wrong labels."""

from __future__ import annotations

from collections.abc import Sequence

from metaweight.core.markdown import escaped, markdown_table
from metaweight.tasks.figures import mean_text
from metaweight.tasks.outcome import Finished
from metaweight.training.fates import HEADINGS, Fates

UNKNOWN = (
    "Which of the data set's own labels are wrong is not known: wrong ones here are those that noise put in."
)
UNTESTED = "There is no test set, so accuracy is not known: name one with --test."
SHOWN = ("learnt", "corrected", "kept", "weight")


def notes(runs: Sequence[Finished]) -> Sequence[str]:
    """A Markdown paragraph for each kind of noise in which labels are wrong: means over the seeds.

    Where there is no test set, or the data set's own labels are not known to be right, the last ones say so.
    """
    unknown = [run for run in runs if run.result.details.get("own_labels") is not None]
    blocks: dict[str, dict[str, list[Fates]]] = {}
    for run in runs:
        one = run.result
        if one.fates is not None:
            blocks.setdefault(one.noise, {}).setdefault(one.arm, []).append(one.fates)
    paragraphs = [
        f"**What became of the wrong labels, noise {escaped(noise)}**\n\n{_table(arms)}"
        for noise, arms in blocks.items()
    ]
    untested = any(run.result.figures.get("accuracy", 0) is None for run in runs)
    return [*paragraphs, *([UNTESTED] if untested else []), *([UNKNOWN] if unknown else [])]


def _table(arms: dict[str, list[Fates]]) -> str:
    rows = []
    for arm, seeds in arms.items():
        shares = [[getattr(one, name) for one in seeds] for name in SHOWN]
        rows.append((arm, *(mean_text(row, "{:.0%}").removesuffix("%") for row in shares)))
    return markdown_table(("arm", *(HEADINGS[name] for name in SHOWN)), rows)
