"""The data of an image run: loaded, split, spoilt, and served in batches."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from metaweight.core.digest import digest
from metaweight.core.registry import did_you_mean
from metaweight.data import ImageLoader, ImageSet, Noisy, Splits, corrupt, derive, load_images
from metaweight.data.folder import VARIABLE
from metaweight.data.imbalance import check_imbalance
from metaweight.data.noise import check_rate, noises
from metaweight.data.origins import LeftOut, Origins
from metaweight.data.own_images import load_own
from metaweight.tasks.assembly import seed_of
from metaweight.tasks.config import ImageConfig
from metaweight.tasks.image.own import check_own_images, own_images, require_classes_trusted
from metaweight.tasks.image.parts import check_drawn, fills, notes_on, split
from metaweight.tasks.probes import Probes, plant


@dataclass(frozen=True)
class PreparedImages:
    """The data of a run; indices are positions in the data set's training images."""

    images: ImageSet
    labels: Tensor
    """[N] as given: wrong ones in the training split, and in the meta split where that is asked for."""
    splits: Splits
    noise: Noisy | None
    """Of the training split without its probes, in its order; None where it is not known which labels are
    wrong."""
    meta_noise: Noisy | None = None
    """Of the meta split before probes were taken from it, in its order; None where none was put in."""
    probes: Probes | None = None
    """Trusted images in the training split, at its end; None: none were planted."""
    left_out: LeftOut = dataclasses.field(default_factory=LeftOut.none)
    """What the data set holds and the run does not use."""
    notes: tuple[str, ...] = ()
    """What is to be known of the trusted rows and of the labels."""

    @property
    def title(self) -> str:
        """Name of the data set."""
        return self.images.name

    @property
    def source(self) -> str:
        """Where it came from, what was done to the images, and which rows are trusted."""
        return "; ".join(filter(None, (self.images.source, self.images.notes, *self.notes)))

    @property
    def samples(self) -> int:
        """How many images the data set has for training, meta and validation set together."""
        return len(self.labels)

    @property
    def own(self) -> Tensor:
        """[n], the training split without its probes."""
        train = self.splits.train
        return train if self.probes is None else train[: len(train) - len(self.probes.wrong)]

    @property
    def origins(self) -> Origins:
        """Where the sample of each index came from."""
        return self.images.origins("train")

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Part of the data -> digest of what the run makes of it, in its order."""
        images, splits, labels = self.images, self.splits, self.labels
        return {
            "pictures": digest(images.train_images),
            "training labels": digest(labels[splits.train]),
            "training rows": digest(splits.train, self.origins.row[splits.train]),
            "trusted rows": digest(splits.meta, self.origins.row[splits.meta], labels[splits.meta]),
            "validation rows": digest(splits.valid, self.origins.row[splits.valid], labels[splits.valid]),
            "test rows": digest(images.origins("test").row, images.test_images, images.test_labels),
        }


# the runs of a grid share their data set, and large ones take seconds to decode
_images = functools.lru_cache(maxsize=1)(load_images)
_own = functools.lru_cache(maxsize=1)(load_own)


def check(config: ImageConfig) -> None:
    """Raise KeyError for an unknown noise, ValueError for an unknown imbalance, each with the nearest, for a
    rate of noise outside [0, 1] and for options of own pictures that do not go together."""
    check_own_images(config)
    _ = noises[config.noise.partition(":")[0]]
    check_rate(config.noise_rate)
    check_imbalance(config.imbalance)


def knows_right_labels(config: ImageConfig, images: ImageSet) -> bool:
    """Whether it is known which labels are wrong: some were made so, or the data set counts as right."""
    return config.noise != "none" or images.clean


def prepare(config: ImageConfig) -> PreparedImages:
    """Load, split and corrupt: test and validation set stay as they are, the meta set unless told."""
    check(config)
    if config.train is None:
        images = _images(config.data, config.data_dir or os.environ.get(VARIABLE))
    else:
        images = _own(own_images(config))
    check_drawn(config, images)
    require_classes_trusted(config, images)
    clean = images.train_labels
    splits, left_out = split(config, images)
    noise = _spoilt(config, images, splits.train)
    labels = clean.clone()
    labels[splits.train] = noise.labels
    trusted = None
    if config.meta_noise_rate != 0:
        trusted = corrupt(
            "uniform",
            clean[splits.meta],
            rate=config.meta_noise_rate,
            classes=len(images.classes),
            generator=derive(config.seed, "meta noise"),
        )
        labels[splits.meta] = trusted.labels
    known = noise if knows_right_labels(config, images) else None
    notes = notes_on(config, images, splits)
    left_out = images.left_out.join(left_out)
    prepared = PreparedImages(images, labels, splits, known, trusted, left_out=left_out, notes=notes)
    return _planted(prepared, config) if config.probes else prepared


def _planted(prepared: PreparedImages, config: ImageConfig) -> PreparedImages:
    """With probes.  Raises ValueError where nobody says that trusted rows are right."""
    if not prepared.images.clean and not prepared.images.trusted:
        raise ValueError(
            f"{config.data}: probes are rows that are surely right, and nobody has checked those that "
            "meta_from_train draws: name trusted rows, or leave out probes"
        )
    splits, labels, probes = plant(
        prepared.splits, prepared.labels, config.probes, generator=derive(config.seed, "probes")
    )
    notes = (*prepared.notes, probes.note)
    return dataclasses.replace(prepared, labels=labels, splits=splits, probes=probes, notes=notes)


def _spoilt(config: ImageConfig, images: ImageSet, train: Tensor) -> Noisy:
    """The labels of the training split with the noise that ``config`` asks for."""
    kind, _, name = config.noise.partition(":")
    if kind == "human" and name not in images.human:
        raise ValueError(
            f"{config.data} has no human labels {name!r}.{did_you_mean(name, images.human)} Write human:NAME."
        )
    return corrupt(
        kind,
        images.train_labels[train],
        rate=config.noise_rate,
        classes=len(images.classes),
        inputs=images.train_images[train],
        human=images.human[name][train] if kind == "human" else None,
        class_map=images.class_map or None,
        generator=derive(config.seed, "noise"),
    )


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
    if split == "train" and fills(config, prepared.samples):
        batch_size = min(batch_size, len(positions))
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
