"""The samples of a run in one numbering, the trusted ones too: what a remedy chooses from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from metaweight.data.epochs import Epochs
from metaweight.tasks.config import RunConfig


@dataclass(frozen=True, eq=False)
class Pool:
    """All samples that a student may be trained on, N of them, by position."""

    train: Tensor
    """[n] int64, positions of the training set; they are the indices of a run's training batches."""
    meta: Tensor
    """[m] int64, positions of the meta set."""
    flipped: Tensor | None
    """[n] bool, which training samples are really wrong; None where that is not known."""
    nominal: float | None
    """Nominal noise rate; None where not known."""
    labels: Tensor | None = None
    """[N] int64, the label of each position as given; None where a sample has no class."""
    classes: int = 0
    """C, where a sample has a class."""
    lengths: Mapping[str, Tensor] = field(default_factory=dict)
    """Of sentence pairs: "pieces" and "characters" -> [N, 2] int64, of source and target."""


C = TypeVar("C", bound=RunConfig, contravariant=True)
P = TypeVar("P", contravariant=True)


@runtime_checkable
class Pooled(Protocol[C, P]):
    """A task whose students may be trained on other samples than the training set."""

    def pool(self, config: C, prepared: P) -> Pool:
        """All samples of a run."""
        ...

    def batches(self, config: C, prepared: P, positions: Tensor, *, training: bool) -> Epochs:
        """Batches of the pool's ``positions`` [n], with these as their indices.

        ``training``: as the training set's, shuffled and augmented; else each sample once, as it is.
        """
        ...


def pooled(task: object, name: str) -> Pooled[Any, Any]:
    """``task``, checked.  Raises ValueError where it has no pool."""
    if not isinstance(task, Pooled):
        raise ValueError(f"task {name!r} has no pool of samples that a remedy could choose from")
    return task
