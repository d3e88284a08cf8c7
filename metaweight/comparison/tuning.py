"""Hyper-parameters chosen on the validation set, with the same number of tries for every arm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

import torch

from metaweight.comparison.arms import KINDS
from metaweight.comparison.cells import Cell, CellResult
from metaweight.comparison.choices import ArmChoice, Choices, Try
from metaweight.comparison.grid import NOT_AN_ARMS, Grid
from metaweight.data import derive
from metaweight.tasks import Evaluation
from metaweight.tasks.config import with_options
from metaweight.tasks.outcome import RunResult

ALL = "all"
COMPARED = frozenset(NOT_AN_ARMS).union(
    ("train_size", "meta_size", "valid_size", "test_size", "meta_noise_rate", "imbalance", "imbalance_ratio"),
    ("train", "meta", "valid", "test", "label", "meta_column", "columns", "languages", "overlap", "tokenize"),
    ("picture", "picture_size", "picture_ground"),
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
            raise ValueError("tuning needs a validation set: give valid, or valid_size more than 0")
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
    settings: list[dict[str, Any]] = [{}]
    configs = [own]
    for place in torch.randperm(number, generator=derive(tuning.seeds[0], "tuning", arm)).tolist():
        if len(settings) == tuning.budget:
            break
        options = _combination(space, place)
        config = with_options(own, options)
        if config not in configs:  # its defaults again, or a value listed twice
            settings.append(options)
            configs.append(config)
    few = len(settings) < tuning.budget
    return [
        Candidate(
            noise, arm, k, options, tuple(_cell(grid, noise, arm, s, k, options) for s in tuning.seeds), few
        )
        for k, options in enumerate(settings)
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


def choose(
    tried: Sequence[Candidate], results: Iterable[CellResult], *, figure: str, higher_is_better: bool
) -> Choices:
    """The best candidate of each arm under each kind of noise, of equal ones the earlier; no figure of the
    test set is read."""
    by_name = {result.cell.name: result.result for result in results}
    sign = 1 if higher_is_better else -1
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for one in tried:
        groups.setdefault((one.noise, one.arm), []).append(one)
    arms = []
    for (noise, arm), group in groups.items():
        tries = []
        for one in group:
            names = tuple(cell.name for cell in one.cells)
            tries.append(Try(one.options, _score([by_name[name] for name in names], figure), names))
        worth = [-math.inf if one.score is None else sign * one.score for one in tries]
        few, place = group[0].few, worth.index(max(worth))
        arms.append(ArmChoice(noise=noise, arm=arm, tries=tuple(tries), chosen=place, few=few))
    seeds = tuple(dict.fromkeys(cell.config.seed for one in tried for cell in one.cells))
    return Choices(figure=figure, higher_is_better=higher_is_better, seeds=seeds, arms=tuple(arms))


def _score(results: Sequence[RunResult | None], figure: str) -> float | None:
    values = [None if result is None else result.row.get(figure) for result in results]
    return None if None in values else fmean(value for value in values if value is not None)


def tuned(grid: Grid, choices: Choices) -> Grid:
    """``grid`` with every arm's best options."""
    chosen: dict[str, dict[str, Mapping[str, Any]]] = {}
    for one in choices.arms:
        chosen.setdefault(one.noise, {})[one.arm] = one.options
    return replace(grid, chosen=chosen)
