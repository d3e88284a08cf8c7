"""Which rows a run trains on, trusts and validates on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from metaweight.data import Splits, derive, make_splits
from metaweight.data.imbalance import thinned
from metaweight.data.rows import Targets
from metaweight.data.rows.parts import Parts
from metaweight.tasks.config.rows import RowsConfig
from metaweight.tasks.trusted import drawn_unchecked, looks_at_trusted, require_trusted

OF_CLASSES = ("classes", "one-logit")
"""Kinds of targets of which a row has one class."""
OF_EACH = 10
"""Trusted rows of each class that are asked for."""
WAY = (
    "give them as a file, --meta FILE, or mark them in a column of the training rows, --meta-column COLUMN; "
    "metaweight choose-trusted draws rows for you to check"
)


class Chosen(NamedTuple):
    """What a run does with each row."""

    splits: Splits
    left: Mapping[str, Tensor]
    """Why training rows are left out -> their positions."""
    notes: tuple[str, ...]


def split(
    config: RowsConfig, parts: Parts, targets: Targets, values: Tensor, sizes: Mapping[str, int]
) -> Chosen:
    """The N rows of ``values`` [N, ...], in which the parts follow each other in their ``sizes``.

    Files of trusted rows are used whole; without one they are drawn out of rows that count as right, or that
    nobody has checked where that is asked for.  ``imbalance`` thins out classes of training rows.  Raises
    ValueError where it is not asked for, for a class that no trusted row has, and for an imbalance of rows
    without classes or that leaves a class empty.
    """
    chosen = _split(config, parts, targets, values, sizes)
    if config.imbalance == "none":
        return chosen
    if targets.kind not in OF_CLASSES:
        raise ValueError(f"imbalance {config.imbalance!r} is one of classes; targets here are {targets.kind}")
    train, taken = thinned(
        config.imbalance,
        chosen.splits.train,
        values[chosen.splits.train].long(),
        config.imbalance_ratio,
        len(targets.classes),
        generator=derive(config.seed, "imbalance"),
    )
    left = {**chosen.left, f"taken by imbalance {config.imbalance}": taken}
    return chosen._replace(splits=replace(chosen.splits, train=train), left=left)


def _split(
    config: RowsConfig, parts: Parts, targets: Targets, values: Tensor, sizes: Mapping[str, int]
) -> Chosen:
    """Before classes are thinned out."""
    beyond = f"beyond train_size {config.train_size}"
    train = torch.arange(sizes["train"])
    generator = derive(config.seed, "split")
    if "meta" in sizes:
        meta, valid = torch.arange(sizes["train"], len(values)).tensor_split([sizes["meta"]])
        if looks_at_trusted(config):
            _require_each(parts, targets, values, meta)
        train, rest = _cut(train, config.train_size, generator)
        note = f"{len(meta):,} trusted rows are the meta set, {len(valid):,} the validation set"
        return Chosen(Splits(train, meta, valid), {beyond: rest}, (note,))
    if not parts.clean:
        require_trusted(config, way=WAY)
    held = 0 if "valid" in sizes else config.valid_size
    drawn = _drawn(config, targets, values[train], held, generator)
    used = torch.cat([drawn.train, drawn.meta, drawn.valid])
    valid = torch.arange(sizes["train"], len(values)) if "valid" in sizes else drawn.valid
    notes = () if parts.clean else (drawn_unchecked(config, len(drawn.meta), held),)
    rest = train[~torch.isin(train, used)]
    return Chosen(Splits(drawn.train, drawn.meta, valid), {beyond: rest}, notes)


def _drawn(
    config: RowsConfig, targets: Targets, values: Tensor, valid_size: int, generator: torch.Generator
) -> Splits:
    """Disjoint parts at random; of classes the meta set has as many of each."""
    if targets.kind in OF_CLASSES:
        names = targets.classes
        return make_splits(
            values.long(),
            meta_size=config.meta_size,
            valid_size=valid_size,
            train_size=config.train_size,
            classes=len(names),
            names=names,
            balanced=config.meta_balanced,
            generator=generator,
        )
    order = torch.randperm(len(values), generator=generator)
    meta, valid, rest = order.tensor_split([config.meta_size, config.meta_size + valid_size])
    if not len(rest) or not len(meta):
        raise ValueError(
            f"{len(values)} rows less {config.meta_size} trusted and {valid_size} validation rows leave "
            f"{len(rest)} to train; ask for fewer (meta_size, valid_size)"
        )
    train, _ = _cut(rest, config.train_size, generator)
    return Splits(train.sort().values, meta.sort().values, valid.sort().values)


def _cut(train: Tensor, size: int | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``size`` of the positions at random, sorted, and the others."""
    if size is None or size == len(train):
        return train, train[:0]
    if not 0 < size <= len(train):
        raise ValueError(f"there are {len(train):,} training rows, asked for {size:,} (train_size)")
    order = train[torch.randperm(len(train), generator=generator)]
    return order[:size].sort().values, order[size:].sort().values


def _require_each(parts: Parts, targets: Targets, values: Tensor, meta: Tensor) -> None:
    """Raise ValueError where the trusted rows lack a class: its rows would all look wrong."""
    if targets.kind not in OF_CLASSES:
        return
    there = set(values[meta].long().tolist())
    lacking = [name for code, name in enumerate(targets.classes) if code not in there]
    if lacking:
        assert parts.meta is not None
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise ValueError(
            f"{parts.meta.file}: no trusted row is of class {', '.join(map(repr, lacking[:5]))}{more}: its "
            f"rows would all look wrong. Add some, {OF_EACH} or more of each class"
        )
