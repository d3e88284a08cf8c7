"""An image run on the user's own pictures: what its options say, and what its trusted rows must have."""

from __future__ import annotations

import torch

from metaweight.data import ImageSet
from metaweight.data.own_images import OwnImages, Wanted
from metaweight.data.own_images.opening import SMALLEST
from metaweight.data.pictures import Reading
from metaweight.tasks.config import ImageConfig, check_overlap, check_own
from metaweight.tasks.trusted import looks_at_trusted


def check_own_images(config: ImageConfig) -> None:
    """Raise ValueError for options of own pictures without ``train``, or that do not go together."""
    check_overlap(config.overlap)
    check_own(config, more=("picture", "picture_size", "picture_ground", "overlap"))
    _ = Reading(config.picture_ground)
    if config.picture_size is not None and config.picture_size < SMALLEST:
        raise ValueError(
            f"picture_size is {SMALLEST} pixels or more, as the models need, got {config.picture_size}"
        )


def own_images(config: ImageConfig) -> OwnImages:
    """The own pictures that ``config``, which names ``train``, asks for."""
    return OwnImages(
        **config.own,
        columns=Wanted(label=config.label, picture=config.picture, meta_column=config.meta_column),
        size=config.picture_size,
        ground=config.picture_ground,
        drop=config.overlap == "drop",
    )


def require_classes_trusted(config: ImageConfig, images: ImageSet) -> None:
    """Raise ValueError, with the class, where own trusted pictures lack one that the training pictures have.

    A teacher would learn that all of its pictures are wrong; one that looks at no trusted row does not care.
    """
    if config.train is None or "meta" not in images.trusted or not looks_at_trusted(config):
        return
    size = len(images.classes)
    checked = torch.cat(list(images.trusted.values()))
    training = torch.ones(len(images.train_labels), dtype=torch.bool)
    training[checked] = False
    counts = torch.bincount(images.train_labels[training], minlength=size)
    trusted = torch.bincount(images.train_labels[images.trusted["meta"]], minlength=size)
    lacking = ((counts > 0) & (trusted == 0)).nonzero().flatten().tolist()
    if lacking:
        names = ", ".join(f"{images.classes[k]!r} ({int(counts[k]):,} to train)" for k in lacking[:5])
        place = config.meta or f"column {config.meta_column!r} of {config.train}"
        raise ValueError(
            f"the trusted pictures ({place}) have none of class {names}, so all of them would look wrong; "
            "check some of each class, or take the class out of train"
        )
