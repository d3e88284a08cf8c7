"""The iterations that are compared, by name: a plain step, metaweight's engines and schedules, and peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

FULL = "float32"


@dataclass(frozen=True)
class Variant:
    """A way to take one iteration; without an engine or a peer it is plain training.

    An option that is left at its default is not passed on: a library that does not have it yet is asked
    for nothing.
    """

    engine: str | None = None
    schedule: str = "lookahead"
    """``lookahead`` or ``online`` of the Reweighter, or ``gradient``: ``hypergradient`` and the teacher's
    update alone, without a real step."""
    every: int = 1
    """The teacher is updated each ``every``-th iteration: that many make one cycle."""
    meta_batch: int | None = None
    """Samples of the meta batch; None for the setting's."""
    unroll: int = 1
    """K inner steps in one iteration, whose cost is given for each of them."""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Of the engine."""
    scope: tuple[str, ...] | None = None
    compile: bool = False
    precision: str = FULL
    memory_format: str = "contiguous"
    checked: bool = False
    """Each answer of the engine is held against reverse mode: a run does so in its batches 1, 2, 4, 8, ...
    and in each hundredth, other variants in their first alone."""
    peer: str | None = None
    """Another library, by its name in ``peers``."""

    @property
    def name(self) -> str:
        """What it is, with all that differs from the defaults: ``forward, online, every=5``."""
        ours = [self.engine, self.schedule] if self.engine else ["plain step"]
        words = [self.peer] if self.peer else ours
        words += [f"{key}={value}" for key, value in self.options.items()]
        words += [f"every={self.every}"] * (self.every != 1)
        words += [f"K={self.unroll}"] * (self.unroll != 1)
        words += [f"meta {self.meta_batch}"] * (self.meta_batch is not None)
        words += [f"scope {'+'.join(self.scope or ())}"] * (self.scope is not None)
        words += ["compiled"] * self.compile
        words += [self.precision] * (self.precision != FULL)
        words += ["channels last"] * (self.memory_format == "channels_last")
        words += ["checked"] * self.checked
        return ", ".join(words)

    @property
    def inner_steps(self) -> int:
        """Steps of the student that one cycle stands for."""
        return self.every * self.unroll

    def changed(self, *names: str) -> dict[str, Any]:
        """Those of the fields ``names`` that are not at their default."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name in names and getattr(self, f.name) != f.default
        }


PLAIN = Variant()


@dataclass(frozen=True)
class Setting:
    """What all variants share."""

    model: str = "resnet-32"
    batch: int = 100
    meta_batch: int = 100
    threads: int = 2
    seed: int = 0
