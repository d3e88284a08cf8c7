"""The options of an image run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from metaweight.core.options import Options
from metaweight.tasks.config.run import RunConfig


@dataclass(frozen=True, kw_only=True)
class ImageConfig(RunConfig):
    """Everything that decides an image run."""

    task: ClassVar[str] = "image"

    data: str = "digits"
    """digits, mnist, fashion-mnist, hf:NAME of the hub or on disk (hf:NAME?meta=SPLIT: with trusted rows), or
    a set that a module named by --import brings."""
    train_size: int | None = None
    """Training images; default: all that meta and validation set leave."""
    meta_size: int = 100
    """Trusted images that drive the teacher, as many of each class; at most so many of those named."""
    valid_size: int = 100
    """Trusted images for model selection; at most so many of those named."""
    noise: str = "none"
    """none, uniform, flip, flip2, asymmetric, cluster, instance, or human:NAME (human:worse)."""
    noise_rate: float = 0.4
    """Nominal noise rate; for cluster the probability of a flip inside the chosen clusters."""
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
