"""Data sets of images and of sentence pairs (``text``), and how they are spoilt, cut, split and augmented.

A data set is registered under a name; loaders give batches as a pure function of seed, epoch and position.
"""

from metaweight.data import structured  # noqa: F401 - registers the noises cluster, instance and region
from metaweight.data.ahead import ReadAhead
from metaweight.data.augment import pad_crop_flip, standardise
from metaweight.data.image_set import ImageSet
from metaweight.data.images import datasets, load_images
from metaweight.data.imbalance import long_tail, step_imbalance
from metaweight.data.indexed import Indexed, collate
from metaweight.data.loader import ImageLoader
from metaweight.data.loaders import numbered
from metaweight.data.noise import Noisy, corrupt, noises
from metaweight.data.pairing import pairs
from metaweight.data.seeding import derive
from metaweight.data.splits import Splits, check_disjoint, check_meta, make_splits
from metaweight.data.streams import Stream

__all__ = [
    "ImageLoader",
    "ImageSet",
    "Indexed",
    "Noisy",
    "ReadAhead",
    "Splits",
    "Stream",
    "check_disjoint",
    "check_meta",
    "collate",
    "corrupt",
    "datasets",
    "derive",
    "load_images",
    "long_tail",
    "make_splits",
    "noises",
    "numbered",
    "pad_crop_flip",
    "pairs",
    "standardise",
    "step_imbalance",
]
