"""The samples that a run trusts least: in order, as a table, against the truth and against cleanlab."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metaweight.core.csv_text import csv_text
from metaweight.data.origins import COLUMNS
from metaweight.training.sample_weights import SampleWeights, origin_cells

PLACES = (10, 50, 100)


@dataclass(frozen=True)
class Suspects:
    """The samples that were seen, lowest mean weight first, of equal ones the lower index; m samples.

    Raises ValueError where no sample was seen or a probability is not finite.
    """

    samples: SampleWeights

    def __post_init__(self) -> None:
        probabilities = self.samples.probabilities
        if probabilities is not None and not bool(probabilities.isfinite().all()):
            raise ValueError("the student's probabilities hold NaN: it diverged, and suggests no label")
        if not bool(self.samples.mean_weight().isfinite().any()):
            raise ValueError("no sample has a weight: every one is NaN")

    @property
    def order(self) -> Tensor:
        """[m] int64, positions in ``samples``."""
        means, index = self.samples.mean_weight(), self.samples.index
        by_index = index.argsort(stable=True)
        ordered = by_index[means[by_index].argsort(stable=True)]
        return ordered[means[ordered].isfinite()]

    def places(self) -> list[int]:
        """The k to look at: 10, 50, 100 and the number of flipped samples, those of at most m."""
        flipped = self.samples.flipped
        more = () if flipped is None else (int(flipped.sum()),)
        return sorted({k for k in (*PLACES, *more) if 0 < k <= len(self.order)})

    def precision(self, k: int) -> float | None:
        """Share of flipped samples among the first k; None where the truth is not known."""
        return precision_at(self.order, self.samples.flipped, k)

    def to_csv(self, names: Sequence[str] = (), pairs: Mapping[int, tuple[str, str]] | None = None) -> str:
        """A row a sample: file, row, name, index, given and suggested label, mean weight, weights.

        The first three (see Origin) are where its owner finds it, ``index`` is the position that code uses.
        ``names``: of the classes, else numbers; ``pairs``: index -> source and target, instead of labels.
        ``weights`` holds one an epoch, between spaces, ``nan`` where the sample was not seen.
        """
        about = ("given_label", "suggested_label") if pairs is None else ("source", "target")
        return csv_text((*COLUMNS, "index", *about, "mean_weight", "weights"), self._rows(names, pairs))

    def _rows(
        self, names: Sequence[str], pairs: Mapping[int, tuple[str, str]] | None
    ) -> Iterator[Sequence[object]]:
        samples, predicted = self.samples, self.samples.predicted()
        means, history = samples.mean_weight().tolist(), samples.weights.T.tolist()
        origins = origin_cells(samples)
        for place in self.order.tolist():
            index = int(samples.index[place])
            if pairs is None:
                cells = tuple(_label(labels, place, names) for labels in (samples.given, predicted))
            else:
                cells = pairs[index]
            weights = " ".join(f"{weight:.4g}" for weight in history[place])
            yield *origins[place], index, *cells, f"{means[place]:.6g}", weights


def _label(labels: Tensor | None, place: int, names: Sequence[str]) -> str | int:
    if labels is None:
        return ""
    label = int(labels[place])
    return names[label] if names else label


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


def label_issues(samples: SampleWeights) -> Tensor:
    """Positions of what cleanlab takes for label issues, the least self-confident first.

    From the student's own probabilities: of samples that it was trained on, where cleanlab is made for
    samples that it was not.  Northcutt et al. (2021).  Raises ImportError without cleanlab, ValueError for
    samples without labels or probabilities, or where cleanlab refuses them.
    """
    if samples.given is None or samples.probabilities is None:
        raise ValueError("cleanlab needs given labels and the student's probabilities")
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise ImportError("cleanlab is not installed: pip install 'metaweight[cleanlab]'") from error
    ranked = find_label_issues(
        labels=samples.given.numpy(),
        pred_probs=samples.probabilities.double().numpy(),
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    return torch.as_tensor(ranked, dtype=torch.int64)
