"""Hyper-parameters chosen on the validation set, with the same number of tries for every arm."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Literal

import torch

from metaweight.comparison.arms import KINDS
from metaweight.comparison.cells import Cell, CellResult
from metaweight.comparison.choices import read_choices
from metaweight.comparison.grid import NOT_AN_ARMS, Grid
from metaweight.data import derive
from metaweight.tasks import Evaluation
from metaweight.tasks.config import with_options
from metaweight.tasks.figures import markdown_table

ALL = "all"
COMPARED = frozenset(NOT_AN_ARMS).union(
    ("train_size", "meta_size", "valid_size", "test_size", "meta_noise_rate", "imbalance", "imbalance_ratio"),
    ("train", "meta", "valid", "test", "columns", "languages", "overlap"),
    KINDS,
)
"""Options that decide what is compared, so that no arm may choose them."""
OF_THE_LOSS = frozenset(
    ["loss_options", "smoothing", "vocab_size", "vocab_model", "joint_vocab", "byte_fallback"]
)
"""Options that decide what a loss is, so that no loss can choose them."""
LARGEST = 1_000_000


@dataclass(frozen=True)
class Tuning:
    """How the options of every arm are chosen, kind of noise by kind of noise."""

    budget: int
    """Candidates that each arm tries; the first is always its own defaults."""
    spaces: Mapping[str, Mapping[str, tuple[Any, ...]]]
    """Arm, or ``all`` for every arm -> option -> its values; an arm's own values go over those of ``all``."""
    seeds: tuple[int, ...] = (1000,)
    """Of the tuning runs alone: a grid's own seeds are refused."""
    figure: str | None = None
    """Of the validation set, by its value for the student that a run hands out; default: the one that the
    task's best epoch is chosen by."""
    goal: Literal["highest", "lowest"] | None = None
    """Which end of ``figure`` is best; default: as the task says of its own."""

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"budget is the number of candidates of an arm, at least 1, got {self.budget}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds of tuning are at least one, each once, got {self.seeds}")
        if self.figure is not None and not self.figure.startswith("valid_"):
            raise ValueError(
                f"tuning looks at the validation set alone: figure is valid_..., got {self.figure!r}"
            )
        if self.goal not in (None, "highest", "lowest"):
            raise ValueError(f"goal is highest or lowest, got {self.goal!r}")
        for arm, space in self.spaces.items():
            for option, values in space.items():
                if not values:
                    raise ValueError(f"{option} of {arm} has no values to choose from")
                if option in COMPARED:
                    raise ValueError(f"{option} of {arm} decides what is compared: it is not tuned")

    def scored_by(self, evaluation: Evaluation) -> tuple[str, bool]:
        """The figure, and whether more of it is better.

        Raises ValueError where there is no validation set, another figure than the task's own has no goal, or
        an option that decides what a loss is would be chosen by one.
        """
        figure = self.figure or evaluation.monitor
        if "valid" not in evaluation.batches or not figure.startswith("valid_"):
            raise ValueError("tuning needs a validation set: give valid_size more than 0")
        if self.goal is None and figure != evaluation.monitor:
            raise ValueError(f'{figure} has no goal: write goal = "highest" or goal = "lowest"')
        for arm, space in self.spaces.items():
            shaping = sorted(space.keys() & OF_THE_LOSS)
            if shaping and figure.endswith("loss"):
                raise ValueError(
                    f"{shaping[0]} of {arm} changes what {figure} is, which therefore cannot choose it: "
                    "tune by another figure, or leave it"
                )
        return figure, evaluation.higher_is_better if self.goal is None else self.goal == "highest"


@dataclass(frozen=True)
class Candidate:
    """One choice of options of one arm under one kind of noise."""

    noise: str
    arm: str
    number: int
    """0: the arm's own defaults."""
    options: Mapping[str, Any]
    cells: tuple[Cell, ...]
    """A run for each seed of the tuning."""
    few: bool = False
    """The arm has fewer different candidates than the budget."""


def candidates(grid: Grid, tuning: Tuning) -> list[Candidate]:
    """All tries, noise by noise and arm by arm: defaults, then draws without repeats from the arm's space.

    Draws depend on the first tuning seed and the arm alone.  Raises TypeError for an option that a run lacks,
    ValueError for a seed that the grid has too and for a space of more than a million combinations.
    """
    both = sorted(set(tuning.seeds) & set(grid.seeds))
    if both:
        raise ValueError(f"seed {both[0]} is one of the grid's: tuning has seeds of its own")
    return [one for noise in grid.noises for arm in grid.arms for one in _of_arm(grid, tuning, noise, arm)]


def _of_arm(grid: Grid, tuning: Tuning, noise: str, arm: str) -> list[Candidate]:
    space = {**tuning.spaces.get(ALL, {}), **tuning.spaces.get(arm, {})}
    number = math.prod(len(values) for values in space.values())
    if number > LARGEST:
        raise ValueError(f"{arm} has {number:,} combinations to choose from: give at most {LARGEST:,}")
    own = grid.cell(arm, noise, tuning.seeds[0]).config
    chosen: list[dict[str, Any]] = [{}]
    configs = [own]
    for place in torch.randperm(number, generator=derive(tuning.seeds[0], "tuning", arm)).tolist():
        if len(chosen) == tuning.budget:
            break
        options = _combination(space, place)
        config = with_options(own, options)
        if config not in configs:  # its defaults again, or a value listed twice
            chosen.append(options)
            configs.append(config)
    few = len(chosen) < tuning.budget
    return [
        Candidate(
            noise, arm, k, options, tuple(_cell(grid, noise, arm, s, k, options) for s in tuning.seeds), few
        )
        for k, options in enumerate(chosen)
    ]


def _combination(space: Mapping[str, Sequence[Any]], place: int) -> dict[str, Any]:
    """The combination at a place of the product of all lists."""
    options = {}
    for option, values in space.items():
        place, digit = divmod(place, len(values))
        options[option] = values[digit]
    return options


def _cell(grid: Grid, noise: str, arm: str, seed: int, number: int, options: Mapping[str, Any]) -> Cell:
    cell = grid.cell(arm, noise, seed)
    return replace(cell, name=f"{cell.name}.candidate-{number}", config=with_options(cell.config, options))


@dataclass(frozen=True)
class Choices:
    """What was tried and what is best."""

    figure: str
    higher_is_better: bool
    tried: tuple[Candidate, ...]
    scores: tuple[float | None, ...]
    """Of each candidate the mean over its seeds; None where a run failed or its figure is not finite."""
    best: Mapping[tuple[str, str], int] = field(init=False)
    """(noise, arm) -> place in ``tried``; the defaults where no candidate has a score."""

    def __post_init__(self) -> None:
        sign = 1 if self.higher_is_better else -1
        best: dict[tuple[str, str], int] = {}
        top: dict[tuple[str, str], float] = {}
        for place, (one, score) in enumerate(zip(self.tried, self.scores, strict=True)):
            key = one.noise, one.arm
            best.setdefault(key, place)
            if score is not None and sign * score > top.get(key, -math.inf):  # ties: the earlier one
                best[key], top[key] = place, sign * score
        object.__setattr__(self, "best", best)

    def applied(self, grid: Grid) -> Grid:
        """``grid`` with every arm's best options."""
        chosen: dict[str, dict[str, Mapping[str, Any]]] = {}
        for (noise, arm), place in self.best.items():
            chosen.setdefault(noise, {})[arm] = self.tried[place].options
        return replace(grid, chosen=chosen)

    def note(self) -> str:
        """The paragraph under the table, Markdown."""
        rows = []
        for one in read_choices(self.to_csv())[1]:
            few = self.tried[self.best[one.noise, one.arm]].few
            tried = f"{one.tried}{', all there are' if few else ''}{one.without}"
            rows.append((one.noise, one.arm, one.options, one.score, one.default_score, tried))
        headings = ("noise", "teacher", "chosen", "on validation", "defaults", "tried")
        end = "highest" if self.higher_is_better else "lowest"
        seeds = ", ".join(dict.fromkeys(str(c.config.seed) for one in self.tried for c in one.cells))
        title = f"Chosen on the validation set: {end} {self.figure} at the end, tuning seeds {seeds}"
        return f"**{title}**\n\n{markdown_table(headings, rows, left=3)}"

    def to_csv(self) -> str:
        """A row a candidate; its options as JSON, empty score where it has none."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["noise", "teacher", "candidate", "options", self.figure, "chosen", "runs"])
        chosen = set(self.best.values())
        for place, (one, score) in enumerate(zip(self.tried, self.scores, strict=True)):
            runs = " ".join(cell.name for cell in one.cells)
            row = [one.noise, one.arm, one.number, json.dumps(one.options), score, int(place in chosen), runs]
            writer.writerow(["" if value is None else value for value in row])
        return text.getvalue()


def choose(
    tried: Sequence[Candidate], results: Iterable[CellResult], *, figure: str, higher_is_better: bool
) -> Choices:
    """The best candidate of each arm under each kind of noise; no figure of the test set is read."""
    by_name = {result.cell.name: result for result in results}
    scores = tuple(_score([by_name[cell.name] for cell in one.cells], figure) for one in tried)
    return Choices(figure, higher_is_better, tuple(tried), scores)


def _score(results: Sequence[CellResult], figure: str) -> float | None:
    values = []
    for result in results:
        value = result.outcome.row.get(figure) if result.outcome is not None else None
        if value is None or not math.isfinite(value):
            return None
        values.append(value)
    return fmean(values)
