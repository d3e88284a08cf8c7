"""Remedies that drop training samples and train on the rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metaweight.core.registry import did_you_mean
from metaweight.data import derive
from metaweight.remedies.base import Facts, Remedy, nominal_rate, remedies, require_classes, require_range
from metaweight.remedies.course import Course, Stage

FILTERS = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)
"""What ``cleanlab.filter.find_label_issues`` takes for ``filter_by``."""


def trained_on(course: Course, keep: Tensor) -> Stage:
    """Plain training on the training samples that ``keep`` [n] bool leaves.

    Raises ValueError where it leaves none.
    """
    positions = course.pool.train[keep]
    if not len(positions):
        raise ValueError("the filter dropped every training sample: choose milder options")
    return Stage(config=course.config, source=course.batches(positions), kept=positions)


def largest(values: Tensor, share: float) -> Tensor:
    """[n] bool, true at the ``share`` of ``values`` [n] that is largest, rounded down to whole samples."""
    count = int(share * len(values) + 1e-9)
    mask = torch.zeros(len(values), dtype=torch.bool)
    mask[values.argsort(stable=True, descending=True)[:count]] = True
    return mask


@remedies.register("loss-filter")
@dataclass(frozen=True, kw_only=True)
class LossFilter(Remedy):
    """Drop the ``share`` of the training set with a plain student's largest losses, then train anew.

    ``share``: default the nominal noise rate.  A sentence's loss is taken per token.  Raises ValueError for a
    share outside [0, 1).
    """

    share: float | None = None

    def __post_init__(self) -> None:
        if self.share is not None:
            require_range("share of loss-filter", self.share)

    def check(self, facts: Facts) -> None:
        require_range("share of loss-filter", self._share(facts.pool.nominal))

    def _share(self, nominal: float | None) -> float:
        return nominal_rate(self.share, nominal, option="share", name="loss-filter")

    def last(self, course: Course) -> Stage:
        losses = course.losses(course.plain(), course.pool.train)
        return trained_on(course, ~largest(losses, self._share(course.pool.nominal)))


@remedies.register("length-ratio")
@dataclass(frozen=True, kw_only=True)
class LengthRatio(Remedy):
    """Drop the pairs whose length ratio lies outside the range of the trusted pairs', then train.

    The range holds the middle ``coverage`` of the meta set's ratios of target to source; ``unit``: lengths in
    pieces or characters.  Raises ValueError for a coverage outside (0, 1] or another unit.
    """

    coverage: float = 0.98
    unit: str = "pieces"

    def __post_init__(self) -> None:
        if not 0 < self.coverage <= 1:
            raise ValueError(f"coverage of length-ratio lies in (0, 1], got {self.coverage}")
        if self.unit not in ("pieces", "characters"):
            raise ValueError(f"unit of length-ratio is pieces or characters, got {self.unit!r}")

    def check(self, facts: Facts) -> None:
        if self.unit not in facts.pool.lengths:
            raise ValueError(
                f"remedy {facts.name!r} is for sentence pairs: task {facts.config.task!r} has none"
            )

    def last(self, course: Course) -> Stage:
        source, target = course.pool.lengths[self.unit].double().clamp_min(1).unbind(dim=1)
        ratio = (target / source).log()
        tail = (1 - self.coverage) / 2
        low, high = ratio[course.pool.meta].quantile(torch.tensor([tail, 1 - tail]).double())
        own = ratio[course.pool.train]
        return trained_on(course, (own >= low) & (own <= high))


@remedies.register("confident-learning")
@dataclass(frozen=True, kw_only=True)
class ConfidentLearning(Remedy):
    """Drop the label issues that cleanlab finds in cross-validated students' probabilities, then train.

    Northcutt et al. (2021): ``folds`` plain students each say of the samples that they have not seen what
    ``cleanlab.filter.find_label_issues`` reads (its option ``filter_by``).  Needs the extra ``cleanlab``.
    Raises ValueError for less than two folds, more than there are samples, or another ``filter_by``.
    """

    folds: int = 3
    filter_by: str = "prune_by_noise_rate"

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"folds of confident-learning are 2 or more, got {self.folds}")
        if self.filter_by not in FILTERS:
            raise ValueError(
                f"filter_by of confident-learning: unknown {self.filter_by!r}."
                f"{did_you_mean(self.filter_by, FILTERS)}"
            )

    def check(self, facts: Facts) -> None:
        require_classes(facts)
        _require_cleanlab()
        if self.folds > len(facts.pool.train):
            raise ValueError(
                f"{self.folds} folds of confident-learning for {len(facts.pool.train)} training samples: "
                "give fewer"
            )

    def last(self, course: Course) -> Stage:
        pool = course.pool
        assert pool.labels is not None
        labels = pool.labels[pool.train]
        fold = folds(labels, self.folds, derive(course.config.seed, "folds"))
        says = torch.zeros(len(labels), pool.classes, dtype=torch.float64)
        for number in range(self.folds):
            inside = fold == number
            student = course.plain(f"fold-{number}", pool.train[~inside])
            says[inside] = course.probabilities(student, pool.train[inside])
        from cleanlab.filter import find_label_issues

        issues = find_label_issues(labels.numpy(), says.numpy(), filter_by=self.filter_by, n_jobs=1)
        return trained_on(course, ~torch.from_numpy(issues))


def folds(labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A random fold 0..count-1 for each of ``labels`` [n], every class spread evenly: [n] int64."""
    order = torch.randperm(len(labels), generator=generator)
    order = order[labels[order].argsort(stable=True)]
    fold = torch.empty_like(labels)
    fold[order] = torch.arange(len(labels)) % count
    return fold


def _require_cleanlab() -> None:
    try:
        import cleanlab  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "remedy 'confident-learning' needs cleanlab: pip install 'metaweight[cleanlab]'"
        ) from error
