"""The data of an image run: loaded, split, spoilt, and served in batches."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metaweight.core.registry import did_you_mean
from metaweight.data import ImageLoader, ImageSet, Noisy, Splits, corrupt, derive, load_images, make_splits
from metaweight.data.folder import VARIABLE
from metaweight.data.imbalance import long_tail, step_imbalance
from metaweight.data.noise import check_rate, noises
from metaweight.tasks.assembly import seed_of
from metaweight.tasks.config import ImageConfig


@dataclass(frozen=True)
class PreparedImages:
    """The data of a run; indices are positions in the data set's training images."""

    images: ImageSet
    labels: Tensor
    """[N] as given: wrong ones in the training split, and in the meta split where that is asked for."""
    splits: Splits
    noise: Noisy
    """Of the training split, in its order."""
    meta_noise: Noisy | None = None
    """Of the meta split, in its order; None where it is clean."""

    @property
    def title(self) -> str:
        """Name of the data set."""
        return self.images.name

    @property
    def source(self) -> str:
        """Where it came from."""
        return self.images.source

    @property
    def samples(self) -> int:
        """How many images the data set has for training, meta and validation set together."""
        return len(self.labels)


# the runs of a grid share their data set, and large ones take seconds to decode
_images = functools.lru_cache(maxsize=1)(load_images)


CUTS: Mapping[str, Callable[..., Tensor]] = {"long-tail": long_tail, "step": step_imbalance}


def check(config: ImageConfig) -> None:
    """Raise KeyError for an unknown noise, ValueError for an unknown imbalance, each with the nearest, and
    ValueError for a rate of noise outside [0, 1]."""
    _ = noises[config.noise.partition(":")[0]]
    check_rate(config.noise_rate)
    if config.imbalance != "none" and config.imbalance not in CUTS:
        raise ValueError(
            f"unknown imbalance {config.imbalance!r}.{did_you_mean(config.imbalance, ['none', *CUTS])}"
        )


def knows_right_labels(config: ImageConfig) -> bool:
    """Whether it is known which labels are wrong: they were made so, or the data set counts as right."""
    return config.noise != "none" or not config.data.startswith("hf:")


def prepare(config: ImageConfig) -> PreparedImages:
    """Load, split and corrupt: test and validation set stay clean, the meta set unless told."""
    check(config)
    images = _images(config.data, config.data_dir or os.environ.get(VARIABLE))
    clean, classes = images.train_labels, len(images.classes)
    splits = make_splits(
        clean,
        meta_size=config.meta_size,
        valid_size=config.valid_size,
        train_size=config.train_size,
        classes=classes,
        generator=derive(config.seed, "split"),
    )
    splits = _imbalanced(config, clean, splits, classes)
    kind, _, name = config.noise.partition(":")
    train = splits.train
    if kind == "human" and name not in images.human:
        raise ValueError(
            f"{config.data} has no human labels {name!r}.{did_you_mean(name, images.human)} Write human:NAME."
        )
    noise = corrupt(
        kind,
        clean[train],
        rate=config.noise_rate,
        classes=classes,
        images=images.train_images[train],
        human=images.human[name][train] if kind == "human" else None,
        class_map=images.class_map or None,
        generator=derive(config.seed, "noise"),
    )
    labels = clean.clone()
    labels[train] = noise.labels
    trusted = None
    if config.meta_noise_rate != 0:
        trusted = corrupt(
            "uniform",
            clean[splits.meta],
            rate=config.meta_noise_rate,
            classes=classes,
            generator=derive(config.seed, "meta noise"),
        )
        labels[splits.meta] = trusted.labels
    return PreparedImages(images, labels, splits, noise, trusted)


def _imbalanced(config: ImageConfig, labels: Tensor, splits: Splits, classes: int) -> Splits:
    if config.imbalance == "none":
        return splits
    positions = CUTS[config.imbalance](
        labels[splits.train], config.imbalance_ratio, classes, generator=derive(config.seed, "imbalance")
    )
    return dataclasses.replace(splits, train=splits.train[positions])


def loader(
    config: ImageConfig,
    prepared: PreparedImages,
    split: str,
    *,
    batch_size: int,
    training: bool,
    positions: Tensor | None = None,
) -> ImageLoader:
    """Batches of one split; shuffled and augmented only where ``training``.

    ``positions`` [n]: these samples instead of the split's own.
    """
    images = prepared.images
    test = split == "test"
    if positions is None:
        positions = torch.arange(len(images.test_labels)) if test else getattr(prepared.splits, split)
    return ImageLoader(
        images.test_images if test else images.train_images,
        images.test_labels if test else prepared.labels,
        positions,
        batch_size=batch_size,
        mean=images.mean,
        std=images.std,
        augment=training and config.augment,
        shuffle=training,
        drop_last=training and split == "train",
        seed=seed_of(config.seed, split),
        device=torch.device(config.device),
    )
