"""Disjoint training, meta and validation sets as index tensors into the training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metaweight.student.losses import check_labels


@dataclass(frozen=True, eq=False)
class Splits:
    """Positions [n] int64, sorted, in the training images; the test set has images of its own.

    Probes (see metaweight.tasks.probes) stand at the end of ``train``.  Raises ValueError where two of the
    sets share a position.
    """

    train: Tensor
    meta: Tensor
    valid: Tensor

    def __post_init__(self) -> None:
        check_disjoint(self.train, self.meta)
        check_disjoint(self.train, self.valid, names=("training", "validation"))
        check_disjoint(self.meta, self.valid, names=("meta", "validation"))

    def trained(self, *, with_meta: bool) -> Tensor:
        """What is trained on: ``train``, and behind it ``meta`` where asked for."""
        return torch.cat([self.train, self.meta]) if with_meta else self.train


def make_splits(
    labels: Tensor,
    *,
    meta_size: int,
    valid_size: int,
    train_size: int | None = None,
    classes: int,
    names: Sequence[str] = (),
    balanced: bool = True,
    generator: torch.Generator,
) -> Splits:
    """Split samples with clean ``labels`` [N] int64 at random into disjoint sets.

    The meta set is class-balanced: equal counts, or counts that differ by one, with the larger ones at
    random classes; a class without samples takes no part.  Not ``balanced`` it is drawn as samples come, but
    for one at least of each class.  Validation and training set are drawn from the
    rest; ``train_size`` None takes all that is left.  ``names`` of the classes, for errors.  Raises
    ValueError for a meta set of less than two classes, an empty training set, a class with too few samples,
    or sizes beyond what there is.
    """
    check_labels(labels, classes)
    _check_sizes(meta_size, valid_size, train_size)
    left = len(labels) - meta_size - valid_size
    size = left if train_size is None else train_size
    if size < 1 or size > left:
        raise ValueError(
            f"{len(labels)} samples less {meta_size} for meta and {valid_size} for validation leave "
            f"{max(left, 0)} to train, asked for {_asked(train_size)}; "
            "leave at least 1 and ask for no more"
        )
    device = generator.device
    available = torch.bincount(labels, minlength=classes).cpu()
    present = available.nonzero().flatten()
    counts = torch.zeros(classes, dtype=torch.int64)
    if balanced:
        # one of the larger counts each, where the size leaves some over
        order = torch.randperm(len(present), generator=generator, device=device).cpu()
        counts[present] = meta_size // len(present) + (order < meta_size % len(present)).long()
    else:
        drawn = torch.randperm(len(labels), generator=generator, device=device)[:meta_size].to(labels.device)
        counts = torch.bincount(labels[drawn], minlength=classes).cpu()
        for lacking in present[counts[present] == 0].tolist():
            counts[counts.argmax()] -= 1
            counts[lacking] = 1
    if bool((counts > available).any()):
        least = int(available[present].min())
        k = int((counts > available).nonzero()[0])
        raise ValueError(
            f"class {k}{f' ({names[k]})' if names else ''} has {int(available[k])} samples, asked for "
            f"{int(counts[k])} of each class by a meta set of {meta_size}; a meta_size of at most "
            f"{least * len(present)} can be had"
        )
    meta = draw_per_class(labels, counts, generator=generator)
    check_meta(labels, meta)
    order = torch.randperm(len(labels), generator=generator, device=device).to(labels.device)
    rest = order[~torch.isin(order, meta)]
    valid, train = rest[:valid_size], rest[valid_size : valid_size + size]
    return Splits(train=train.sort().values, meta=meta, valid=valid.sort().values)


def trusted_splits(
    labels: Tensor,
    trusted: Mapping[str, Tensor],
    *,
    meta_size: int,
    valid_size: int,
    train_size: int | None = None,
    classes: int,
    generator: torch.Generator,
) -> Splits:
    """Split samples of which some are trusted: ``trusted["meta"]`` and, perhaps, ``trusted["valid"]``, [n].

    Sizes are the most that is taken: of more meta rows a set as even over the classes as they allow is
    drawn, of more validation rows any; without ``valid``, validation takes of what the meta set leaves.
    The training set is drawn from the rest alone.  Raises ValueError as ``make_splits``.
    """
    check_labels(labels, classes)
    _check_sizes(meta_size, valid_size, train_size)
    device = generator.device
    checked = torch.cat(list(trusted.values()))
    order = torch.randperm(len(labels), generator=generator, device=device).to(labels.device)
    rest = order[~torch.isin(order, checked)]
    size = len(rest) if train_size is None else train_size
    if size < 1 or size > len(rest):
        raise ValueError(
            f"{len(labels)} samples less {len(checked)} trusted ones leave {len(rest)} to train, asked for "
            f"{_asked(train_size)}; leave at least 1 and ask for no more"
        )
    available = torch.bincount(labels[trusted["meta"]], minlength=classes)
    counts = even_counts(available.cpu(), meta_size, generator=generator)
    meta = trusted["meta"][draw_per_class(labels[trusted["meta"]], counts, generator=generator)]
    check_meta(labels, meta)
    held = trusted.get("valid", trusted["meta"])
    held = order[torch.isin(order, held[~torch.isin(held, meta)])]
    return Splits(
        train=rest[:size].sort().values, meta=meta.sort().values, valid=held[:valid_size].sort().values
    )


def even_counts(available: Tensor, size: int, *, generator: torch.Generator) -> Tensor:
    """How many to draw of each class, as even as ``available`` [C] allows: [C] int64 that sum to ``size``.

    All of them where ``size`` is more than there are.  What cannot be even goes to random classes.
    """
    counts = torch.zeros_like(available)
    size = min(size, int(available.sum()))
    while left := size - int(counts.sum()):
        open_ = (counts < available).nonzero().flatten()
        if left < len(open_):
            order = torch.randperm(len(open_), generator=generator, device=generator.device).cpu()
            counts[open_[order[:left]]] += 1
        else:
            counts[open_] = torch.minimum(counts[open_] + left // len(open_), available[open_])
    return counts


def _check_sizes(meta_size: int, valid_size: int, train_size: int | None) -> None:
    if meta_size < 0 or valid_size < 0 or (train_size is not None and train_size < 0):
        given = f"meta_size {meta_size}, valid_size {valid_size}, train_size {train_size}"
        raise ValueError(f"sizes are 0 or more, got {given}")


def _asked(train_size: int | None) -> str:
    return "all" if train_size is None else f"{train_size} (train_size)"


def draw_per_class(labels: Tensor, counts: Tensor, *, generator: torch.Generator) -> Tensor:
    """Positions of ``counts[k]`` random samples of each class k, sorted: [N], [C] -> [sum of counts] int64.

    Raises ValueError for a class that has fewer samples.
    """
    counts = counts.to(labels.device)
    available = torch.bincount(labels, minlength=len(counts))
    short = (available < counts).nonzero().flatten()
    if len(short):
        k = int(short[0])
        raise ValueError(
            f"class {k} has {int(available[k])} samples, asked for {int(counts[k])} "
            f"({len(short)} such classes); ask for fewer"
        )
    order = torch.randperm(len(labels), generator=generator, device=generator.device).to(labels.device)
    # a stable sort by class keeps the random order within each class; rank: the place in that order
    order = order[labels[order].argsort(stable=True)]
    rank = torch.arange(len(labels), device=labels.device) - (available.cumsum(0) - available)[labels[order]]
    return order[rank < counts[labels[order]]].sort().values


def check_meta(labels: Tensor, meta: Tensor) -> None:
    """Raise ValueError for a meta set (positions [m] in ``labels``) that is empty or has one class only."""
    present = labels[meta].unique()
    if len(present) < 2:
        got = f"all {len(meta)} are of class {int(present)}" if len(present) else "it is empty"
        raise ValueError(f"a meta set has samples of at least 2 classes, but {got}; draw some of each class")


def check_disjoint(first: Tensor, second: Tensor, *, names: tuple[str, str] = ("training", "meta")) -> None:
    """Raise ValueError where two index sets share a position, with how many and the first few."""
    shared = first[torch.isin(first, second)].unique()
    if len(shared):
        examples = ", ".join(map(str, shared[:5].tolist())) + (", ..." if len(shared) > 5 else "")
        raise ValueError(
            f"{names[0]} and {names[1]} set share {len(shared)} samples (positions {examples}); "
            "make them disjoint, as make_splits does"
        )
