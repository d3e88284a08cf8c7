"""Remedies that train on the meta set itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from metaweight.core.contracts import Batch
from metaweight.data.epochs import Epochs
from metaweight.remedies.base import Facts, Remedy, remedies, require_truth
from metaweight.remedies.course import Course, Stage


class Cycled(Epochs):
    """Epochs of ``batches`` batches, however many the source has: it begins anew where it ends."""

    def __init__(self, source: Epochs, batches: int) -> None:
        super().__init__()
        self.source, self.batches = source, batches

    def __len__(self) -> int:
        return self.batches

    def batch(self, epoch: int, position: int) -> Batch:
        """The ``position``-th batch of an epoch."""
        return self.source.batch(*self._place(epoch, position))

    def part(self, epoch: int, position: int, rank: int, size: int) -> Batch:
        """Of a batch what process ``rank`` of ``size`` has, as ``Batch.part``."""
        return self.source.part(*self._place(epoch, position), rank, size)

    def rest(self) -> None:
        """See ``Epochs``."""
        self.source.rest()

    def _place(self, epoch: int, position: int) -> tuple[int, int]:
        """Epoch and position of the source."""
        self.check_position(epoch, position)
        return divmod(epoch * self.batches + position, len(self.source))


@remedies.register("meta-only")
@dataclass(frozen=True, kw_only=True)
class MetaOnly(Remedy):
    """Plain training on the meta set alone, for as many steps as on the training set."""

    def last(self, course: Course) -> Stage:
        source = Cycled(course.batches(course.pool.meta), course.plain_batches)
        return Stage(config=course.config, source=source)


@remedies.register("with-meta")
@dataclass(frozen=True, kw_only=True)
class WithMeta(Remedy):
    """Plain training on training set and meta set together."""

    def last(self, course: Course) -> Stage:
        both = torch.cat([course.pool.train, course.pool.meta])
        return Stage(config=course.config, source=course.batches(both))


@remedies.register("clean-and-meta")
@dataclass(frozen=True, kw_only=True)
class CleanAndMeta(Remedy):
    """Plain training on the really clean training samples and the meta set: a bound that uses the truth."""

    uses_truth = True

    def check(self, facts: Facts) -> None:
        require_truth(facts)

    def last(self, course: Course) -> Stage:
        pool = course.pool
        assert pool.flipped is not None
        return Stage(
            config=course.config, source=course.batches(torch.cat([pool.train[~pool.flipped], pool.meta]))
        )


@remedies.register("fine-tune")
@dataclass(frozen=True, kw_only=True)
class FineTune(Remedy):
    """Plain training, then some epochs on the meta set at ``lr_factor`` times the learning rate.

    The rate is constant then, and the optimizer begins anew.  Raises ValueError for epochs below 1 or a
    factor that is not above 0.
    """

    epochs: int = 20
    lr_factor: float = 0.1

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.lr_factor > 0:
            raise ValueError(
                f"fine-tune takes epochs >= 1 and lr_factor > 0, got {self.epochs} and {self.lr_factor}"
            )

    def last(self, course: Course) -> Stage:
        plain = course.plain()
        config = replace(
            course.config,
            epochs=self.epochs,
            warmup_epochs=0,
            lr=self.lr_factor * course.config.lr,
            lr_schedule="constant",
            lr_warmup_steps=0,
            patience=None,
        )
        reweighter = course.task.build(config, course.prepared)
        reweighter.student.module.load_state_dict(plain.module.state_dict())
        return Stage(config=config, source=course.batches(course.pool.meta), reweighter=reweighter)
