"""What a run's weights by sample look like: over time, against the loss, and at the lower end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metaweight.core.weights import mean_after
from metaweight.data.origins import Origin
from metaweight.report.page.study import ReadRun, Study
from metaweight.report.suspects import least_first
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights

Array = NDArray[np.float64]
DOTS = 1500
"""Most dots in one panel."""
LOWEST = 24
"""Samples shown of an arm."""
BINS = 24
"""Parts of equal size that the losses are cut into, for the median of the weights in each."""


@dataclass(frozen=True)
class Quartiles:
    """Of the weights of one kind of sample by epoch; NaN where no sample was seen."""

    low: Array
    median: Array
    high: Array


@dataclass(frozen=True)
class Dots:
    """Loss and weight of some samples of one kind, at the last epoch that saw each."""

    loss: Array
    weight: Array


@dataclass(frozen=True)
class LowSample:
    """One sample with its weights: one of the lowest, or of another choice."""

    index: int
    """Position in the data set."""
    row: int
    """Position in the run's files."""
    mean: float
    history: tuple[float, ...]
    """Weight by epoch, NaN where it was not seen."""
    flipped: bool | None
    given: int | None
    clean: int | None
    predicted: int | None
    origin: Origin | None
    """Where its owner finds it, where that is known."""


@dataclass(frozen=True)
class WeightView:
    """What the page shows of one run's weights."""

    run: ReadRun
    kinds: tuple[str, ...]
    """``clean`` and ``flipped``, or ``all`` where it is not known which are."""
    quartiles: tuple[Quartiles, ...]
    dots: tuple[Dots, ...]
    middle: Dots
    """Median of the weights in each part of the losses, of all samples."""
    lowest: tuple[LowSample, ...]
    samples: int
    unseen: int
    """Samples that no epoch saw."""
    dropped: int
    """Samples that a remedy left out: weight 0 and no loss in every epoch."""
    broken: int
    """Infinite weights, and losses that are not finite where the weight is, but for what was left out."""
    flat: bool
    """Every weight is the same, or there is none: there is nothing to look at."""

    @property
    def unseen_whole(self) -> bool:
        """No epoch saw any sample, so none has a weight."""
        return self.unseen == self.samples


def weight_views(study: Study) -> tuple[list[WeightView], list[str]]:
    """Of every arm under every kind of noise, its first seed that has weights; and which files are damaged.

    One file is in memory at a time.
    """
    views, notes = [], []
    for noise in study.noises:
        for arm in study.arms:
            for run in study.runs_of(arm, noise):
                if not (run.folder / "weights.npz").is_file():
                    continue
                try:
                    samples = RunFolder(run.folder).read_weights()
                except (ValueError, OSError) as error:
                    notes.append(f"weights.npz of {run.name} cannot be read: {error}.")
                    continue
                views.append(weight_view(run, samples))
                break
    return views, notes


def weight_view(run: ReadRun, samples: SampleWeights) -> WeightView:
    """Summarise ``samples``, probes left out; nothing of the size of the data set is kept."""
    samples = samples.own
    epochs, count = samples.weights.shape
    masks = {"all": np.ones(count, bool)}
    if samples.flipped is not None:
        flipped = samples.flipped.numpy()
        masks = {"clean": ~flipped, "flipped": flipped}
    quartiles = np.full((len(masks), epochs, 3), np.nan)
    last_loss, last_weight = np.full((2, count), np.nan)
    dropped, broken, infinite = np.full(count, epochs > 0), 0, 0
    low, high = np.inf, -np.inf
    for epoch, both in enumerate(zip(samples.weights, samples.loss, strict=True)):
        weights, loss = (values.double().numpy() for values in both)
        finite = np.isfinite(weights)
        # a remedy's filter gives a weight of 0 and no loss
        lost = np.isinf(loss) | (np.isnan(loss) & (weights != 0))
        infinite += int(np.isinf(weights).sum())
        broken += int((finite & lost).sum())
        dropped &= (weights == 0) & np.isnan(loss)
        known = finite & np.isfinite(loss)
        last_loss[known], last_weight[known] = loss[known], weights[known]
        low, high = (end(weights[finite], initial=at) for end, at in ((np.min, low), (np.max, high)))
        for kind, mask in enumerate(masks.values()):
            if len(values := weights[finite & mask]):
                quartiles[kind, epoch] = np.quantile(values, (0.25, 0.5, 0.75))
    given = samples.weights
    if infinite:
        given = given.where(given.isfinite(), math.nan)
    # float32, as the suspects' are: equal weights are equal in both orders
    means = mean_after(given, samples.warmup)
    return WeightView(
        run,
        tuple(masks),
        tuple(Quartiles(*kind.T) for kind in quartiles),
        _thinned(last_loss, last_weight, list(masks.values())),
        _middle(last_loss, last_weight),
        _lowest(samples, given, means),
        samples=count,
        unseen=int((~means.isfinite()).sum()),
        dropped=int(dropped.sum()),
        broken=broken + infinite,
        flat=bool(high - low < 1e-6),
    )


def _thinned(loss: Array, weight: Array, masks: Sequence[NDArray[np.bool_]]) -> tuple[Dots, ...]:
    """At most DOTS in all, evenly from the samples sorted by loss, so that the thin ends stay."""
    finite = np.isfinite(loss)
    share = min(1.0, DOTS / max(int(finite.sum()), 1))
    kinds = []
    for mask in masks:
        rows = np.flatnonzero(mask & finite)
        rows = rows[np.argsort(loss[rows], kind="stable")]
        keep = math.floor(len(rows) * share)
        picks = np.linspace(0, len(rows) - 1, keep).round().astype(int) if keep else np.array([], int)
        kinds.append(Dots(loss[rows[picks]], weight[rows[picks]]))
    return tuple(kinds)


def _middle(loss: Array, weight: Array) -> Dots:
    rows = np.flatnonzero(np.isfinite(loss))
    rows = rows[np.argsort(loss[rows], kind="stable")]
    parts = [part for part in np.array_split(rows, BINS) if len(part) >= 3]
    return Dots(
        np.array([np.median(loss[part]) for part in parts]),
        np.array([np.median(weight[part]) for part in parts]),
    )


def _lowest(samples: SampleWeights, weights: Tensor, means: Tensor) -> tuple[LowSample, ...]:
    rows = least_first(samples.index, means, samples.mean_loss())[:LOWEST].tolist()
    return samples_at(samples, weights, means, rows)


def samples_at(
    samples: SampleWeights, weights: Tensor, means: Tensor, rows: Sequence[int]
) -> tuple[LowSample, ...]:
    """Those at ``rows`` of a run's files, with their ``weights`` [epochs, n] and their ``means`` [n]."""
    predicted = samples.predicted()

    def at(values: object, row: int) -> int | None:
        return None if values is None else int(values[row])  # type: ignore[index]

    return tuple(
        LowSample(
            int(samples.index[row]),
            int(row),
            float(means[row]),
            tuple(weights[:, row].tolist()),
            None if samples.flipped is None else bool(samples.flipped[row]),
            at(samples.given, row),
            at(samples.clean, row),
            at(predicted, row),
            None if samples.origins is None else samples.origins[int(row)],
        )
        for row in rows
    )
