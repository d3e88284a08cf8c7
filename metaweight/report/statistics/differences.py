"""What a few seeds allow to say of two arms: paired differences with intervals, wins, losses, mean ranks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from metaweight.core.records import Record
from metaweight.core.registry import did_you_mean
from metaweight.tasks.outcome import Result

SEED = 0


class Paired(Record, frozen=True, kw_only=True):
    """Arm less base under one kind of noise, seed by seed, on the seeds that both have; n seeds.

    ``low`` and ``high``: the t interval, mean ± t(n - 1) · s / √n.  It is the one to print, because the
    percentile bootstrap is far too narrow for few seeds: of 3 seeds it runs from the smallest to the largest
    difference, and that holds their median in 3 of 4 cases (1 - 2 / 2^n), not in 19 of 20.  The t interval
    keeps its word for differences that scatter normally, which 3 seeds can neither show nor deny.
    """

    seeds: tuple[int, ...]
    """Ascending."""
    differences: tuple[float, ...]
    """In the figure's unit, one a seed; more is better only where the figure says so."""
    mean: float
    interval: tuple[float, float] | None
    """``low`` and ``high``; None for one seed."""
    bootstrap: tuple[float, float] | None
    """Percentile interval over resampled seeds; None for one seed."""
    wins: int
    """Seeds in which the arm is better."""
    ties: int
    losses: int
    higher_is_better: bool

    @property
    def low(self) -> float:
        """NaN for one seed."""
        return math.nan if self.interval is None else self.interval[0]

    @property
    def high(self) -> float:
        """NaN for one seed."""
        return math.nan if self.interval is None else self.interval[1]

    @property
    def verdict(self) -> int:
        """1 where the whole interval is on the better side of 0, -1 on the worse, 0 where it holds 0.

        One seed has no interval and gives 0: nothing is known of how much seeds differ.
        """
        better = 1 if self.higher_is_better else -1
        return better * ((self.low > 0) - (self.high < 0))


class WinTieLoss(Record, frozen=True):
    """Kinds of noise by what the arm does to the base there."""

    wins: tuple[str, ...]
    ties: tuple[str, ...]
    losses: tuple[str, ...]

    @staticmethod
    def of(pairs: Mapping[str, Paired]) -> WinTieLoss:
        """From the differences by kind of noise."""
        outcomes: dict[int, list[str]] = {1: [], 0: [], -1: []}
        for noise, pair in pairs.items():
            outcomes[pair.verdict].append(noise)
        return WinTieLoss(*(tuple(outcomes[sign]) for sign in (1, 0, -1)))

    def text(self) -> str:
        """``2 / 1 / 0``."""
        return f"{len(self.wins)} / {len(self.ties)} / {len(self.losses)}"


def paired(
    results: Sequence[Result],
    figure: str,
    *,
    arm: str,
    base: str,
    noise: str,
    higher_is_better: bool = True,
    confidence: float = 0.95,
    resamples: int = 10000,
) -> Paired | None:
    """Arm less base on the seeds in which both have the figure; None where there is no such seed.

    A seed fixes split, noise and initial weights, so the difference of two arms scatters less than either.
    The bootstrap takes every resample once where n^n is at most ``resamples``, else so many drawn from one
    fixed seed.  The interval does not know how many comparisons are made beside it.
    Raises KeyError for a figure that no result names, ValueError for a run that is given twice, a confidence
    outside (0, 1) or no resample.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is a share in (0, 1), got {confidence}")
    if resamples < 1:
        raise ValueError(f"resamples is a positive number, got {resamples}")
    cells = by_cell(results, figure)
    seeds = [seed for kind, seed in cells if kind == noise and {arm, base} <= cells[kind, seed].keys()]
    seeds.sort()
    if not seeds:
        return None
    values = np.array([cells[noise, seed][arm] - cells[noise, seed][base] for seed in seeds])
    better = values if higher_is_better else -values
    return Paired(
        seeds=tuple(seeds),
        differences=tuple(values.tolist()),
        mean=float(values.mean()),
        interval=_t_interval(values, confidence),
        bootstrap=_bootstrap(values, confidence, resamples),
        wins=int((better > 0).sum()),
        ties=int((better == 0).sum()),
        losses=int((better < 0).sum()),
        higher_is_better=higher_is_better,
    )


def paired_by_noise(
    results: Sequence[Result],
    figure: str,
    *,
    arm: str,
    base: str,
    higher_is_better: bool = True,
    confidence: float = 0.95,
) -> dict[str, Paired]:
    """Kind of noise -> ``paired``; without those in which the two share no seed."""
    pairs = {
        noise: paired(
            results,
            figure,
            arm=arm,
            base=base,
            noise=noise,
            higher_is_better=higher_is_better,
            confidence=confidence,
        )
        for noise in dict.fromkeys(result.noise for result in results)
    }
    return {noise: pair for noise, pair in pairs.items() if pair is not None}


def win_tie_loss(
    results: Sequence[Result],
    figure: str,
    arm: str,
    base: str,
    *,
    higher_is_better: bool = True,
    confidence: float = 0.95,
) -> WinTieLoss:
    """By kind of noise: a win where the whole t interval of arm less base is on the better side of 0.

    A loss where it is on the worse side, a tie where it holds 0 or there is one seed: then the
    difference is inside the spread of the seeds.  Kinds in which the two share no seed are left out.
    Raises as ``paired``.
    """
    pairs = paired_by_noise(
        results, figure, arm=arm, base=base, higher_is_better=higher_is_better, confidence=confidence
    )
    return WinTieLoss.of(pairs)


def ranks(results: Sequence[Result], figure: str, *, higher_is_better: bool = True) -> dict[str, float]:
    """Arm -> mean rank over (noise, seed), 1 is the best, equal figures share the mean of their ranks.

    Only cells count that every arm has (``rank_cells`` says how many): a rank among fewer arms is another
    thing.  Empty where there is no such cell.  Raises as ``paired``.
    """
    from scipy.stats import rankdata

    whole, _ = _complete(results, figure)
    if not whole:
        return {}
    sign = -1.0 if higher_is_better else 1.0
    table = np.array([list(cell.values()) for cell in whole])
    return dict(zip(whole[0], rankdata(sign * table, axis=1).mean(axis=0).tolist(), strict=True))


def rank_cells(results: Sequence[Result], figure: str) -> tuple[int, int]:
    """How many (noise, seed) the ranks are over, and how many there are."""
    whole, number = _complete(results, figure)
    return len(whole), number


def by_cell(results: Sequence[Result], figure: str) -> dict[tuple[str, int], dict[str, float]]:
    """(noise, seed) -> arm -> figure, arms in the order of their first appearance; None is left out."""
    known = {name for result in results for name in result.figures}
    if results and figure not in known:
        raise KeyError(f"no run has the figure {figure!r}.{did_you_mean(figure, known)}")
    cells: dict[tuple[str, int], dict[str, float]] = {}
    runs = set()
    for result in results:
        key = (result.arm, result.noise, result.seed)
        if key in runs:
            raise ValueError(f"{result.arm} under {result.noise} has seed {result.seed} twice")
        runs.add(key)
        value = result.figures.get(figure)
        if value is not None:
            cells.setdefault((result.noise, result.seed), {})[result.arm] = value
    return cells


def _complete(results: Sequence[Result], figure: str) -> tuple[list[Mapping[str, float]], int]:
    """The cells that hold every arm that has the figure anywhere, and the number of all cells."""
    cells = by_cell(results, figure)
    arms = dict.fromkeys(result.arm for result in results if result.figures.get(figure) is not None)
    whole = [{arm: cell[arm] for arm in arms} for cell in cells.values() if cell.keys() == arms.keys()]
    return list(whole), len(cells)


def _t_interval(values: NDArray[np.float64], confidence: float) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    reach = float(
        stdtrit(len(values) - 1, (1 + confidence) / 2) * values.std(ddof=1) / math.sqrt(len(values))
    )
    mean = float(values.mean())
    return mean - reach, mean + reach


def _bootstrap(values: NDArray[np.float64], confidence: float, resamples: int) -> tuple[float, float] | None:
    """Quantiles of the resamples' means, between two of them on a straight line."""
    n = len(values)
    if n < 2:
        return None
    if n**n <= resamples:
        rows = np.array(list(itertools.product(range(n), repeat=n)))
    else:
        rows = np.random.default_rng(SEED).integers(n, size=(resamples, n))
    low, high = np.quantile(values[rows].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
