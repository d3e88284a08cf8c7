"""Which engines ``auto`` tries for a student, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import nn

from metaweight.core.submodules import submodules
from metaweight.engines.checks import couples, described
from metaweight.student.student import Student

Key = tuple[str, tuple[tuple[str, str], ...]]
"""An engine's name and its options."""


@dataclass(frozen=True)
class Choice:
    """An engine, and why it is tried."""

    name: str
    why: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> Key:
        """What the engine is built by."""
        return self.name, self.options


def preferences(student: Student, *, several: bool, cheap: bool = False) -> Iterator[Choice]:
    """Engines with the reason to try them, the most promising first; exact ones but for ``cheap``."""
    module = student.module
    if student.sharded is not None:
        yield Choice("ghost", "the parameters are sharded, which others swap whole")
        return
    if several:
        yield Choice("reverse", "several inner steps, in the memory of one")
        yield Choice("reverse", "several inner steps, which cannot be undone", (("replay", "snapshots"),))
    elif coupling := _first(module, couples):
        yield Choice("forward", f"{coupling} couples the samples of a batch")
        yield Choice("double", f"{coupling} couples the samples of a batch")
    else:
        apart = "no layer couples the samples of a batch"
        if cheap:
            yield Choice("first-order", f"cost='cheap', and {apart}")
        yield Choice("ghost", apart)
        if convolution := _first(module, lambda part: isinstance(part, nn.modules.conv._ConvNd)):
            yield Choice("forward", f"{convolution} is a convolution")
            yield Choice("double", "one inner step")
        else:
            yield Choice("double", "no convolutions")
            yield Choice("forward", "one inner step")
    yield Choice("higher", "any student")


def _first(module: nn.Module, is_it: Callable[[nn.Module], bool]) -> str | None:
    part = next((part for _, part in submodules(module) if is_it(part)), None)
    return None if part is None else described(module, part)
