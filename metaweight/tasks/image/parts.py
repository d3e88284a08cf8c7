"""Which images a run trains on, trusts, validates on and leaves out."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from metaweight.data import ImageSet, Splits, derive, make_splits
from metaweight.data.hub import HubName
from metaweight.data.imbalance import thinned
from metaweight.data.origins import LeftOut
from metaweight.data.splits import trusted_splits
from metaweight.tasks.config import ImageConfig
from metaweight.tasks.trusted import drawn_unchecked, require_trusted

NAME_THEM = (
    "name them: --meta, laid out as train is, or --meta-column, the column of a table that says yes in their "
    "rows (metaweight choose-trusted draws pictures to be checked)"
)


def check_trusted(config: ImageConfig) -> None:
    """Raise ValueError where the options alone say that no trusted rows are to be had.

    Raises as ``HubName.parse`` too.
    """
    if config.train is not None:
        if config.meta is None and config.meta_column is None:
            require_trusted(config, way=NAME_THEM)
    elif config.data.startswith("hf:") and HubName.parse(config.data).meta is None:
        join = "&" if "?" in config.data else "?"
        require_trusted(
            config,
            way="keep them as a split of their own and name it: "
            f"{config.data}{join}meta=SPLIT[&valid=SPLIT]; parts of splits will do: "
            "meta=train[:100]&train=train[100:]",
        )


def check_drawn(config: ImageConfig, images: ImageSet) -> None:
    """Raise ValueError where trusted rows would be drawn out of unchecked ones without being asked for."""
    if "meta" in images.trusted and config.meta_from_train:
        raise ValueError(
            f"{config.data} names its trusted rows, and meta_from_train draws them: give one of them"
        )
    if not images.clean and "meta" not in images.trusted:
        check_trusted(config)
        require_trusted(config, way="give the ImageSet their positions (trusted=)")


def split(config: ImageConfig, images: ImageSet) -> tuple[Splits, LeftOut]:
    """The splits of a run, and what none of them takes."""
    classes, labels = images.classes, images.train_labels
    generator = derive(config.seed, "split")
    meta_size, valid_size = _sizes(config, images)
    if "meta" in images.trusted:
        splits = trusted_splits(
            labels,
            images.trusted,
            meta_size=meta_size,
            valid_size=valid_size,
            train_size=config.train_size,
            classes=len(classes),
            generator=generator,
        )
    else:
        valid = images.trusted.get("valid", torch.empty(0, dtype=torch.int64))
        rest = _without(torch.arange(len(labels)), valid)
        drawn = make_splits(
            labels[rest],
            meta_size=meta_size,
            valid_size=valid_size if len(valid) == 0 else 0,
            train_size=config.train_size,
            classes=len(classes),
            names=classes,
            generator=generator,
        )
        named = rest[drawn.valid] if len(valid) == 0 else valid
        splits = Splits(train=rest[drawn.train], meta=rest[drawn.meta], valid=named)
    checked = torch.cat([torch.empty(0, dtype=torch.int64), *images.trusted.values()])
    rest = _without(torch.arange(len(labels)), torch.cat([splits.train, splits.meta, splits.valid]))
    left_out = _left_out(images, _without(rest, checked), f"beyond train_size {config.train_size}")
    beyond = f"trusted, beyond meta_size {meta_size} and valid_size {valid_size}"
    left_out = left_out.join(_left_out(images, rest[torch.isin(rest, checked)], beyond))
    if config.imbalance == "none":
        return splits, left_out
    train, taken = thinned(
        config.imbalance,
        splits.train,
        labels[splits.train],
        config.imbalance_ratio,
        len(classes),
        generator=derive(config.seed, "imbalance"),
    )
    reason = f"taken by imbalance {config.imbalance}"
    cut = dataclasses.replace(splits, train=train)
    return cut, left_out.join(_left_out(images, taken, reason))


def _sizes(config: ImageConfig, images: ImageSet) -> tuple[int, int]:
    """Of the meta and the validation set, at most.

    Of own pictures they are what is named.  Where nothing is, and the teacher looks at no trusted row, one of
    each class is the meta set, which a run has in any case.
    """
    if config.train is None or config.meta_from_train:
        return config.meta_size, config.valid_size
    meta = images.trusted.get("meta", images.train_labels.unique())
    return len(meta), len(images.trusted.get("valid", ()))


def _without(positions: Tensor, others: Tensor) -> Tensor:
    return positions[~torch.isin(positions, others)]


def _left_out(images: ImageSet, positions: Tensor, reason: str) -> LeftOut:
    classes = [images.classes[label] for label in images.train_labels[positions].tolist()]
    origins = images.origins("train").select(positions)
    return LeftOut(origins, (reason,) * len(classes), tuple(f"class {name}" for name in classes))


def fills(config: ImageConfig, samples: int) -> bool:
    """Whether a batch that the training set cannot fill holds all of it; else it is the loader's error.

    It is a mistake where ``samples``, all of a named data set, could not fill it; own pictures may be few.
    """
    return config.train is not None or config.batch_size <= samples


def notes_on(config: ImageConfig, images: ImageSet, splits: Splits) -> tuple[str, ...]:
    """Which rows are trusted, and what is not known of the labels, where that is no matter of course."""
    notes = []
    meta, valid = len(splits.meta), len(splits.valid)
    if "meta" in images.trusted:
        checked = sum(map(len, images.trusted.values()))
        notes.append(f"{meta} of {checked} trusted rows are the meta set, {valid} the validation set")
    elif not images.clean:
        notes.append(drawn_unchecked(config, meta, None if "valid" in images.trusted else valid))
    if not images.clean and config.noise != "none":
        notes.append(
            "labels that were wrong before are not known, so wrong ones are those that the noise put in"
        )
    if len(splits.train) < config.batch_size and fills(config, len(images.train_labels)):
        notes.append(f"a batch holds all {len(splits.train)} training images, fewer than {config.batch_size}")
    return tuple(notes)
