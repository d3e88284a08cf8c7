"""What was chosen on the validation set, in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from metaweight.comparison.choices import CHOICES, Choices
from metaweight.core.markdown import markdown_table
from metaweight.core.records import read_record


@dataclass(frozen=True)
class Chosen:
    """What was chosen for one arm under one kind of noise."""

    noise: str
    arm: str
    options: str
    score: str
    """On the validation set; "-" where it has none."""
    default_score: str
    tried: int
    without: str
    """Behind the number tried: how many have no score; empty where all have one."""
    few: bool
    """It tried all that there are."""


def read_choices(folder: Path) -> Choices | None:
    """Those of the grid in ``folder``; None where nothing was tuned."""
    path = folder / CHOICES
    return read_record(Choices, path) if path.is_file() else None


def chosen(choices: Choices) -> tuple[Chosen, ...]:
    """A line for each arm under each kind of noise."""
    lines = []
    for one in choices.arms:
        scores = ["-" if each.score is None else f"{each.score:.4g}" for each in one.tries]
        options = ", ".join(f"{name}={value}" for name, value in one.options.items()) or "its defaults"
        missing = scores.count("-")
        without = f", {missing} without a score" if missing else ""
        lines.append(
            Chosen(one.noise, one.arm, options, scores[one.chosen], scores[0], len(scores), without, one.few)
        )
    return tuple(lines)


def choices_note(choices: Choices) -> str:
    """The paragraph under the table, Markdown."""
    rows = []
    for one in chosen(choices):
        tried = f"{one.tried}{', all there are' if one.few else ''}{one.without}"
        rows.append((one.noise, one.arm, one.options, one.score, one.default_score, tried))
    headings = ("noise", "arm", "chosen", "on validation", "defaults", "tried")
    end = "highest" if choices.higher_is_better else "lowest"
    seeds = ", ".join(map(str, choices.seeds))
    title = f"Chosen on the validation set: {end} {choices.figure} at the end, tuning seeds {seeds}"
    return f"**{title}**\n\n{markdown_table(headings, rows, left=3)}"
