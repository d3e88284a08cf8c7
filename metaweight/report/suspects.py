"""The samples that a run trusts least: in order, as a table, against the truth and against cleanlab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from metaweight.core.csv_columns import listed, write_by_column
from metaweight.data.origins import COLUMNS
from metaweight.report.statistics.belief import Belief, belief
from metaweight.report.statistics.valley import valley
from metaweight.training.sample_weights import SampleWeights, named, origin_columns

PLACES = (10, 50, 100)


@dataclass(frozen=True)
class Suspects:
    """The samples that were seen, in the order of ``least_first``; m samples.

    Probes are left out.  Raises ValueError where no sample was seen or a probability is not finite.
    """

    kept: SampleWeights
    """What a run kept, its probes among them; one epoch, the means of all."""
    samples: SampleWeights = field(init=False)
    """Without them, n samples."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", self.kept.own.averaged)
        object.__setattr__(self, "kept", self.samples if self.kept.probe is None else self.kept.averaged)
        probabilities = self.samples.probabilities
        if probabilities is not None and not bool(probabilities.isfinite().all()):
            raise ValueError("the student's probabilities hold NaN: it diverged, and suggests no label")
        if not bool(self.means.isfinite().any()):
            raise ValueError("no sample has a weight: every one is NaN")

    @property
    def means(self) -> Tensor:
        """[n], the mean weight of each of ``samples``; NaN where none is known."""
        return self.samples.weights[0]

    @property
    def losses(self) -> Tensor:
        """[n], as ``means``."""
        return self.samples.loss[0]

    @cached_property
    def order(self) -> Tensor:
        """[m] int64, positions in ``samples``."""
        return least_first(self.samples.index, self.means, self.losses)

    @cached_property
    def belief(self) -> Belief | None:
        """What is known of the weights."""
        return belief(self.kept)

    @property
    def by_probes(self) -> bool:
        """Whether probes say who is a suspect, as far as anybody is; else the weights' own groups do."""
        return self.belief is not None and self.belief.verdict not in ("untested", "too few")

    @cached_property
    def cut(self) -> float | None:
        """Suspects weigh so much or less; None where nobody is one.

        With probes the cut-off that they give.  Without, or with too few, the valley between the two groups
        of weights (see ``valley``); of samples without classes only if there are two groups indeed.
        """
        if self.belief is not None and self.by_probes:
            return self.belief.cutoff
        whole = self.means[self.means.isfinite()].double().numpy()
        return valley(whole, only_two=self.samples.probabilities is None)

    @cached_property
    def is_suspect(self) -> Tensor:
        """[n] bool.  Nobody is where all weights are equal, or where probes say that they tell nothing.

        With probes: those at or below ``cut``.  Without, or with too few: those below it whose label the
        student would not give either; of samples without classes all below it.
        """
        cut = -torch.inf if self.cut is None else self.cut
        if self.by_probes:
            return self.means <= cut
        low, probabilities, given = self.means < cut, self.samples.probabilities, self.samples.given
        if probabilities is None or given is None:
            return low
        return low & (probabilities.argmax(dim=1) != given)

    @property
    def sentence(self) -> str:
        """What to do first, without its full stop."""
        count, whole = int(self.is_suspect.sum()), len(self.order)
        verdict = None if self.belief is None else self.belief.verdict
        if verdict in ("chance", "inverted"):
            return "Do not act on these weights: on rows whose truth is known they were no better than chance"
        if not count:
            return f"No row stands out: of {whole:,} training rows none is suspected of a wrong label"
        rows, look = ("rows", "look") if count > 1 else ("row", "looks")
        share = None if self.belief is None else self.belief.precision
        if share is None:
            return f"{count:,} of {whole:,} training {rows} {look} wrong"
        few, about, many = (round(count * part) for part in (share.low, share.value, share.high))
        wrong = f"about {about:,} ({few:,} to {many:,}) are wrong"
        return f"Of {count:,} suspects among {whole:,} training rows {wrong}"

    def places(self) -> list[int]:
        """The k to look at: 10, 50, 100 and the number of flipped samples, those of at most m."""
        flipped = self.samples.flipped
        more = () if flipped is None else (int(flipped.sum()),)
        return sorted({k for k in (*PLACES, *more) if 0 < k <= len(self.order)})

    def precision(self, k: int) -> float | None:
        """Share of flipped samples among the first k; None where the truth is not known."""
        return precision_at(self.order, self.samples.flipped, k)

    def columns(
        self, about: Mapping[str, Sequence[Any]] | None = None, names: Sequence[Any] = ()
    ) -> dict[str, list[Any]]:
        """Column -> its m cells in order, a row a sample: what a DataFrame or a file is made of.

        ``about``: columns [n] that say which sample it is; default: file, row, name (see Origin) and index,
        the position that code uses.  Then, as far as they are known, given_label and suggested_label
        (``names``: of the classes, else their numbers; or numbers, where such were learnt) and share, the
        student's probability of what it suggests; mean_weight and loss, means after the warm-up; is_suspect.
        """
        whole = self._known(self.where() if about is None else about, names)
        return {name: listed(cells, self.order) for name, cells in whole.items()}

    def where(self) -> dict[str, Any]:
        """file, row, name and index, arrays [n]."""
        return {**origin_columns(self.samples), "index": self.samples.index.numpy()}

    def write(self, file: IO[bytes], names: Sequence[str] = (), own: Mapping[str, Any] | None = None) -> None:
        """``columns`` as CSV, 1 and 0 for suspects and others; ``own``: more columns [n], behind index.

        One that is called like a column of ours has ``own_`` before its name.
        """
        more = {own_name(name): cells for name, cells in (own or {}).items()}
        table = self._known({**self.where(), **more}, names)
        table["is_suspect"] = table["is_suspect"].astype(np.int8)
        write_by_column(file, table, self.order)

    def _known(self, about: Mapping[str, Any], names: Sequence[Any]) -> dict[str, Any]:
        """``about`` and what is known of each sample, columns [n]."""
        samples, whole = self.samples, dict(about)
        labels = {"given_label": samples.given, "suggested_label": samples.predicted()}
        for name, values in labels.items():
            if values is not None:
                whole[name] = _labels(values, names)
        if samples.probabilities is not None:
            whole["share"] = samples.probabilities.amax(dim=1).double().numpy()
        whole["mean_weight"], whole["loss"] = self.means.double().numpy(), self.losses.double().numpy()
        whole["is_suspect"] = self.is_suspect.numpy()
        return whole


def least_first(index: Tensor, means: Tensor, losses: Tensor) -> Tensor:
    """Positions [m] of the samples [n] whose mean weight is known, the lowest first.

    Of equal ones the higher mean loss comes first, then the lower ``index``.
    """
    loss = losses.nan_to_num(-torch.inf)
    order = index.argsort(stable=True)
    order = order[loss[order].argsort(stable=True, descending=True)]
    order = order[means[order].argsort(stable=True)]
    return order[means[order].isfinite()]


def own_name(name: str) -> str:
    """What a user's column is called beside ours: ``own_NAME`` where ours has its name."""
    ours = {*COLUMNS, "index", "given_label", "suggested_label", "share", "mean_weight", "loss", "is_suspect"}
    return f"own_{name}" if name in ours else name


def _labels(values: Tensor, names: Sequence[Any]) -> Any:
    if values.is_floating_point():
        return list(values.numpy())  # which writes float32 in as few digits as it has
    return named(values, names) if len(names) else values.numpy()


def precision_at(order: Tensor, flipped: Tensor | None, k: int) -> float | None:
    """Share of ``flipped`` [n] among the first k of ``order``; None where it is not known, or k is more."""
    if flipped is None or not 0 < k <= len(order):
        return None
    return int(flipped[order[:k]].sum()) / k


@dataclass(frozen=True)
class Overlap:
    """Two sets of k samples."""

    shared: float
    """Of k."""
    jaccard: float
    """Size of the intersection by that of the union."""


def overlap_at(one: Tensor, other: Tensor, k: int) -> Overlap | None:
    """Of the first k of both; None where one has fewer."""
    if k < 1 or min(len(one), len(other)) < k:
        return None
    common = len(set(one[:k].tolist()) & set(other[:k].tolist()))
    return Overlap(common / k, common / (2 * k - common))


def require_cleanlab() -> None:
    """Raise ImportError, with the way to it, where cleanlab is not installed."""
    try:
        import cleanlab.filter  # noqa: F401
    except ImportError as error:
        raise ImportError("cleanlab is not installed: pip install 'metaweight[cleanlab]'") from error


def label_issues(samples: SampleWeights) -> Tensor:
    """Positions of what cleanlab takes for label issues, the least self-confident first.

    From the student's own probabilities: of samples that it was trained on, where cleanlab is made for
    samples that it was not.  Northcutt et al. (2021).  Raises ImportError without cleanlab, ValueError for
    samples without labels or probabilities, or where cleanlab refuses them.
    """
    if samples.given is None or samples.probabilities is None:
        raise ValueError("cleanlab needs given labels and the student's probabilities")
    require_cleanlab()
    from cleanlab.filter import find_label_issues

    ranked = find_label_issues(
        labels=samples.given.numpy(),
        pred_probs=samples.probabilities.double().numpy(),
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    return torch.as_tensor(ranked, dtype=torch.int64)
