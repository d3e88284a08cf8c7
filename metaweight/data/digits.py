"""The digits of scikit-learn: real images that need no download."""

from __future__ import annotations

from pathlib import Path

import torch

from metaweight.data.image_set import ImageSet
from metaweight.data.origins import Origins

TEST_EVERY = 4


def digits(data_dir: Path | None = None) -> ImageSet:
    """1,797 handwritten digits of 8x8, grey; ``data_dir`` is not used.

    They come without a test split: every fourth image of each class, in the file's order, is the test
    image here, which is stratified and depends on no random generator (1,352 to train, 445 to test).
    Their rows are those of scikit-learn.  Their 17 grey levels 0..16 are spread over 0..255, one to one.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    levels = torch.from_numpy(bunch.images).long()
    labels = torch.from_numpy(bunch.target).long()
    classes = tuple(str(name) for name in bunch.target_names)
    images = ((levels * 255 + 8) // 16).byte().unsqueeze(1)
    test = torch.zeros_like(labels, dtype=torch.bool)
    for label in range(len(classes)):
        test[(labels == label).nonzero().flatten()[TEST_EVERY - 1 :: TEST_EVERY]] = True
    origins = Origins.of("digits", range(1, len(labels) + 1))
    return ImageSet(
        name="digits",
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
        classes=classes,
        train_origins=origins.select((~test).nonzero().flatten()),
        test_origins=origins.select(test.nonzero().flatten()),
        source="Alpaydin and Kaynak (1998), UCI optical digits; scikit-learn's copy of its test part",
    )
