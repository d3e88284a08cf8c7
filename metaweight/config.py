"""The config of an image run, and how text becomes options."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metaweight.registry import did_you_mean


@dataclass(frozen=True)
class ImageConfig:
    """Everything that decides an image run."""

    data: str = "digits"
    """digits, cifar10, mnist, fashion-mnist, or hf:NAME of a Hugging Face data set."""
    data_dir: str | None = None
    """Folder of the data files; default: the environment variable METAWEIGHT_DATA."""
    train_size: int | None = None
    """Training images; default: all that meta and validation set leave."""
    meta_size: int = 100
    """Trusted images that drive the teacher, the same number of each class."""
    valid_size: int = 100
    """Trusted images for model selection."""
    noise: str = "none"
    """none, uniform, flip, flip2, asymmetric, cluster, instance, or human:NAME (human:worse)."""
    noise_rate: float = 0.4
    """Nominal noise rate; for cluster the probability of a flip inside the chosen clusters."""
    imbalance: str = "none"
    """none, long-tail or step, applied to the training set before the noise."""
    imbalance_ratio: float = 50.0
    """Largest over smallest class."""
    model: str = "convnet"
    """convnet, resnet-20, resnet-32 or wrn-28-10."""
    model_options: tuple[str, ...] = ()
    """Options of the model as key=value."""
    taps: tuple[str, ...] = ()
    """Submodules that the teacher sees; default: the model's own."""
    augment: bool = False
    """Reflect-pad, random crop and flip."""
    teacher: str = "memory"
    """See `metaweight teachers`."""
    teacher_options: tuple[str, ...] = ()
    """Options of the teacher as key=value."""
    teacher_lr: float = 3e-3
    """Learning rate of the teacher's Adam."""
    engine: str = "forward"
    """See `metaweight engines`."""
    schedule: str = "lookahead"
    """lookahead or online."""
    every: int = 1
    """Update the teacher each N-th iteration."""
    center: bool | None = None
    """Centre the hypergradient within the batch; default: as the teacher says."""
    anchor: float = 1.0
    """Pull of the mean weight to 1 where the hypergradient is centred."""
    epochs: int = 30
    """Passes over the training set."""
    warmup_epochs: int = 3
    """First epochs, plain, without the teacher."""
    batch_size: int = 100
    """Training images a step."""
    meta_batch_size: int = 100
    """Trusted images a step."""
    optimizer: str = "sgd"
    """sgd, adam or adamw."""
    lr: float = 0.02
    """Learning rate of the student."""
    momentum: float = 0.9
    """Momentum of sgd."""
    nesterov: bool = False
    """Nesterov momentum of sgd."""
    weight_decay: float = 5e-4
    """Weight decay."""
    lr_schedule: str = "cosine"
    """constant, step, cosine or inverse-sqrt."""
    lr_warmup_steps: int = 0
    """Steps of linear learning-rate warm-up."""
    lr_milestones: tuple[int, ...] = ()
    """Epochs at which the learning rate is multiplied by lr_gamma (step)."""
    lr_gamma: float = 0.1
    """Factor at each milestone."""
    max_norm: float | None = None
    """Clip the student's gradient to this 2-norm."""
    patience: int | None = None
    """Stop after so many epochs without a better validation accuracy."""
    evaluate_every: int = 1
    """Epochs between evaluations."""
    seed: int = 0
    """Seeds split, noise, initial weights, order and augmentation."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""


def config_from(values: Mapping[str, Any]) -> ImageConfig:
    """An ImageConfig from a mapping (a TOML table, a manifest); lists become tuples.

    Raises TypeError for an unknown option, with the nearest one.
    """
    return with_options(ImageConfig(), values)


def with_options(config: ImageConfig, values: Mapping[str, Any]) -> ImageConfig:
    """``config`` with some options changed.  Raises TypeError for an unknown one."""
    known = {field.name for field in dataclasses.fields(ImageConfig)}
    for name in values:
        if name not in known:
            raise TypeError(f"a run has no option {name!r}.{did_you_mean(name, known)}")
    changed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return dataclasses.replace(config, **changed)


def parse_values(pairs: Sequence[str]) -> dict[str, Any]:
    """``("width=64", "norm=batch")`` -> ``{"width": 64, "norm": "batch"}``: values are JSON, or else text.

    Raises ValueError for a pair without "=".
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ValueError(f"an option is written key=value, got {pair!r}")
        try:
            values[key] = json.loads(text)
        except json.JSONDecodeError:
            values[key] = text
    return values
