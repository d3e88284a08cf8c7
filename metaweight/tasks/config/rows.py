"""The options that runs of labelled rows share, whatever a row is."""

from __future__ import annotations

from dataclasses import dataclass

from metaweight.tasks.config.own import OwnData


@dataclass(frozen=True, kw_only=True)
class RowsConfig(OwnData):
    """Everything that decides a run of labelled rows, but for what a kind of row adds."""

    target: str | None = None
    """What a label is: classes, number (regression), several (of one row, written a;b), one-logit (two
    classes by one output); default: as the labels look, and that is said."""
    meta_size: int = 100
    """Trusted rows that are drawn out of a data set, or with --meta-from-train; a file meta is used whole."""
    meta_balanced: bool = True
    """Draw as many trusted rows of each class; no: as they come, one at least of each class."""
    valid_size: int = 100
    """Trusted rows for model selection that are drawn alike; a file valid is used whole."""
    noise: str = "none"
    """none, uniform, flip, flip2, asymmetric, cluster, instance, region, shuffled (of numbers and several
    labels), or human: the labels that people gave, of a set that brings them."""
    imbalance: str = "none"
    """none, long-tail or step, applied to the training rows of classes before the noise."""
    imbalance_ratio: float = 50.0
    """Largest over smallest class."""
    teacher_lr: float = 3e-3
    epochs: int = 20
    warmup_epochs: int = 2
    batch_size: int = 0
    """Training rows a step; 0: a twentieth of them, 16 to 1,024."""
    meta_batch_size: int = 100
    """Trusted rows a step."""
    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 1e-2
    lr_schedule: str = "cosine"
