"""What many data sets say of many arms: ranks, Friedman's test, Nemenyi's critical difference, Holm.

Demšar (JMLR 2006).  Kinds of bad data and seeds of one set are no independent witnesses, so that a set has
one vote: its rank of an arm is that of the arm's mean rank under its kinds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon

DEFAULT, PLAIN, CLEAN = "auto", "uniform", "none"
"""The arm that the suite is about, plain training, and the kind of bad data that is none."""


@dataclass(frozen=True)
class Run:
    """One run's figures."""

    data: str
    task: str
    noise: str
    arm: str
    seed: int
    value: float | None
    """The task's main figure, more is better; None: the run failed, or has none."""
    auroc: float | None
    """Of the weights for finding wrong rows."""
    wrong: float | None
    """Share of wrong training rows."""
    seconds: float | None


Cell = tuple[str, str]
"""Set and kind of bad data."""
Means = Mapping[Cell, Mapping[str, float]]
"""Cell -> arm -> mean over seeds, which are the same for all of the cell's arms."""


def means(runs: Iterable[Run]) -> dict[Cell, dict[str, float]]:
    """Cell by cell; an arm that lacks the value of a seed that others have is not in the cell."""
    by_cell: dict[Cell, dict[str, dict[int, float]]] = {}
    for run in runs:
        if run.value is not None:
            by_cell.setdefault((run.data, run.noise), {}).setdefault(run.arm, {})[run.seed] = run.value
    found = {}
    for cell, by_arm in by_cell.items():
        every = set().union(*by_arm.values())
        found[cell] = {arm: fmean(seeds.values()) for arm, seeds in by_arm.items() if set(seeds) == every}
    return {cell: values for cell, values in found.items() if values}


@dataclass(frozen=True)
class Across:
    """Arms over sets."""

    arms: tuple[str, ...]
    """Those that every cell has, the best first."""
    left_out: tuple[str, ...]
    """Arms that some cell lacks."""
    by_cell: Mapping[str, float]
    """Arm -> mean rank over cells, 1 is the best."""
    by_set: Mapping[str, float]
    """Arm -> mean over sets of its rank there."""
    sets: int
    friedman: float | None
    """p of the hypothesis that all arms are alike; None for fewer than 3 arms or 2 sets."""
    critical: float | None
    """Two arms whose ranks by set differ by less cannot be told apart (Nemenyi, 5 %)."""
    against: Mapping[str, tuple[float, float]]
    """Arm -> the default's mean difference to it over sets, and Wilcoxon's p, corrected by Holm."""


def across(found: Means, *, default: str = DEFAULT) -> Across:
    """Ranks and tests.  Raises ValueError where no cell has two arms in common with the others."""
    everywhere = set.intersection(*(set(cell) for cell in found.values())) if found else set()
    every = dict.fromkeys(arm for cell in found.values() for arm in cell)
    arms = [arm for arm in every if arm in everywhere]
    if len(arms) < 2:
        raise ValueError("ranks are of two arms or more that every set and kind of bad data has")
    ranks = np.array([_ranks([cell[arm] for arm in arms]) for cell in found.values()])
    names = list(dict.fromkeys(data for data, _ in found))
    places = np.array([names.index(data) for data, _ in found])
    votes = np.array([rankdata(ranks[places == place].mean(axis=0)) for place in range(len(names))])
    order = np.argsort(votes.mean(axis=0), kind="stable")
    n, k = votes.shape
    enough = k > 2 and n > 1
    return Across(
        arms=tuple(arms[place] for place in order),
        left_out=tuple(arm for arm in every if arm not in everywhere),
        by_cell=dict(zip(arms, ranks.mean(axis=0).tolist(), strict=True)),
        by_set=dict(zip(arms, votes.mean(axis=0).tolist(), strict=True)),
        sets=n,
        friedman=float(friedmanchisquare(*votes.T).pvalue) if enough else None,
        critical=nemenyi(k, n) if enough else None,
        against=_against(found, arms, names, default),
    )


def nemenyi(arms: int, sets: int, level: float = 0.05) -> float:
    """The critical difference of mean ranks: q / √2 · √(k (k + 1) / (6 N)), q of the studentized range."""
    q = float(studentized_range.ppf(1 - level, arms, math.inf))
    return q / math.sqrt(2) * math.sqrt(arms * (arms + 1) / (6 * sets))


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for their number, in the same order."""
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, worst = [1.0] * len(values), 0.0
    for place, at in enumerate(order):
        worst = max(worst, min(1.0, (len(values) - place) * values[at]))
        corrected[at] = worst
    return corrected


def _ranks(values: Sequence[float]) -> list[float]:
    ranks: list[float] = rankdata([-value for value in values]).tolist()
    return ranks


def _against(
    found: Means, arms: Sequence[str], names: Sequence[str], default: str
) -> dict[str, tuple[float, float]]:
    """Signed ranks over sets of the default's mean difference under their kinds."""
    if default not in arms:
        return {}
    others = [arm for arm in arms if arm != default]
    differences = {
        arm: [
            fmean(cell[default] - cell[arm] for (own, _), cell in found.items() if own == data)
            for data in names
        ]
        for arm in others
    }
    p = holm([float(wilcoxon(d).pvalue) if any(d) else 1.0 for d in differences.values()])
    return {arm: (fmean(d), value) for (arm, d), value in zip(differences.items(), p, strict=True)}
