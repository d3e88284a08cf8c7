"""The options of an image run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from metaweight.core.options import Options
from metaweight.tasks.config.own import OwnData


@dataclass(frozen=True, kw_only=True)
class ImageConfig(OwnData):
    """Everything that decides an image run."""

    task: ClassVar[str] = "image"

    data: str = "digits"
    """digits, mnist, fashion-mnist, hf:NAME of the hub or on disk (hf:NAME?meta=SPLIT: with trusted rows), or
    a set that a module named by --import brings; or give train and meta."""
    train: str | None = None
    """Training pictures of your own, used whole: a folder with one sub folder a class, a table of paths and
    labels (.csv, .tsv, .jsonl or .parquet), an IDX file or hf:NAME[?split=SPLIT]."""
    label: str | None = None
    """Column of the class in a table; default: the one called label, class, target, category or y, or the
    only one beside the paths."""
    picture: str | None = None
    """Column of the paths in a table, which begin at its folder; default: the one that holds such."""
    picture_size: int | None = None
    """Resize own pictures to so many pixels square, of a longer side the middle; default: as they are where
    all are squares of one size up to 64, else the most common shorter side, 64 at most."""
    picture_ground: str = "white"
    """What lies under transparent pixels of own pictures: white, black or #rrggbb."""
    overlap: str = "error"
    """What to do where train has a picture of meta, valid or test: error, or drop it from train."""
    train_size: int | None = None
    """Training images; default: all that meta and validation set leave."""
    meta_size: int = 100
    """Trusted images that drive the teacher, as many of each class; at most so many of those named."""
    valid_size: int = 100
    """Trusted images for model selection; at most so many of those named."""
    noise: str = "none"
    """none, uniform, flip, flip2, asymmetric, cluster, instance, region, or human:NAME (human:worse)."""
    noise_rate: float = 0.4
    """Nominal noise rate; for cluster and region the probability of a flip inside them."""
    meta_noise_rate: float = 0.0
    """Nominal rate of uniform noise in the trusted labels; validation and test set stay clean."""
    model: str = "convnet"
    """convnet, resnet-20, resnet-32 or wrn-28-10."""
    loss: str = "cross-entropy"
    """cross-entropy, gce, bootstrap-soft, bootstrap-hard or label-smoothing."""
    loss_options: Options = field(default_factory=dict)
    """Options of the loss as key=value."""
    teacher_lr: float = 3e-3
    epochs: int = 30
    warmup_epochs: int = 3
    batch_size: int = 100
    """Training images a step."""
    meta_batch_size: int = 100
    """Trusted images a step."""
    optimizer: str = "sgd"
    lr: float = 0.02
    weight_decay: float = 5e-4
    lr_schedule: str = "cosine"
    seed: int = 0
    """Seeds split, noise, initial weights, order and augmentation."""
    imbalance: str = "none"
    """none, long-tail or step, applied to the training set before the noise."""
    imbalance_ratio: float = 50.0
    """Largest over smallest class."""
    augment: bool = False
    """Reflect-pad, random crop and flip."""
