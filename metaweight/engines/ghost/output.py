"""What a function's rule sees of the call: its one output, and its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from metaweight.engines.ghost.layers import channels
from metaweight.engines.ghost.rows import Rows
from metaweight.engines.ghost.shares import PerUnit, Share, elementwise
from metaweight.engines.ghost.sources import Source


class NoRuleError(Exception):
    """The arguments are not what the rule is about; the general way serves them."""


class Output:
    """The gradient of the summed losses in a function's one output, and its units' rows."""

    def __init__(self, delta: Tensor, layout: str, units: int) -> None:
        self.delta, self.layout, self.units = delta, layout, units
        self.rows = Rows.of(layout, delta.shape, units)

    def elementwise(self, terms: Tensor, source: Source) -> tuple[Source, Callable[[], Share]]:
        """The share of a tensor that was broadcast against the batch."""
        return source, lambda: elementwise(terms, source.like.shape, self.layout, self.units)

    def per_unit(self, terms: Tensor, source: Source) -> tuple[Source, Callable[[], Share]]:
        """The share of a tensor that acts on the last dimensions."""
        return source, lambda: PerUnit(self.rows.per_unit(terms, source.like.shape))

    def channels(self, terms: Tensor, source: Source) -> tuple[Source, Callable[[], Share]]:
        """The share of a tensor that acts on dimension 1."""
        return source, lambda: PerUnit(channels(terms, self.rows))


Parts = Iterator[tuple[Source, Callable[[], Share]]]
FunctionRule = Callable[..., Parts]
"""(output, *the function's own arguments, a ``Source`` in place of each tensor that is a function of
parameters alone) -> each source with a way to its share."""


def data(value: Any) -> Any:
    """Raises NoRuleError where it is a function of parameters, too."""
    if isinstance(value, Source):
        raise NoRuleError
    return value
