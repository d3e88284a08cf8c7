"""Random draws of a pass over some rows of a batch, as a pass over all of them makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from metaweight.core.contracts import MetaweightError

_FILLED = (
    "bernoulli_",
    "uniform_",
    "normal_",
    "exponential_",
    "log_normal_",
    "cauchy_",
    "geometric_",
    "random_",
)
"""Operators that fill their first argument, whatever it held."""


class NotInPartsError(MetaweightError):
    """A draw that cannot be made for some of the rows."""


class DrawnForAll(TorchDispatchMode):
    """Inside, random numbers are drawn for all ``rows`` of the batch, and those of the ``count`` from
    ``first`` on are used.

    A tensor whose first dimension is ``count``, or a multiple of it, counts as one of rows (heads of
    attention are laid beside their row); any other is drawn as it is.  Raises NotInPartsError for draws that
    depend on values.
    """

    def __init__(self, first: int, count: int, rows: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.first, self.count, self.rows = first, count, rows

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags or self.count == self.rows:
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name == "native_dropout":
            return self._dropout(func, *args, **kwargs)
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if name in _FILLED and len(tensors) == 1:
            first, rest = args[0], args[1:]
            drawn = self._drawn(first.shape, lambda shape: func(_laid_as(first, shape), *rest, **kwargs))
            return first.copy_(drawn)
        if name.endswith("_like") and len(tensors) == 1:
            first, rest = args[0], args[1:]
            return self._drawn(first.shape, lambda shape: func(_laid_as(first, shape), *rest, **kwargs))
        places = [place for place, value in enumerate(args) if isinstance(value, list | tuple)]
        if places and not tensors:
            before, size, after = args[: places[0]], args[places[0]], args[places[0] + 1 :]
            return self._drawn(size, lambda shape: func(*before, list(shape), *after, **kwargs))
        raise NotInPartsError(f"{name} draws by values")

    def _drawn(self, shape: Sequence[int], draw: Callable[[Sequence[int]], Tensor]) -> Tensor:
        """``draw`` for all rows, and of that the part."""
        each, rest = divmod(shape[0], self.count) if len(shape) else (0, 1)
        if rest or not each:
            return draw(shape)
        whole = draw((each * self.rows, *shape[1:]))
        return whole[each * self.first : each * (self.first + self.count)]

    def _dropout(self, func: Any, x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
        """A GPU's dropout, of which the mask is the draw."""
        if train is False or p in (0.0, 1.0):
            return func(x, p, train)  # type: ignore[no-any-return]
        mask = self._drawn(x.shape, lambda shape: func(_laid_as(x, shape).fill_(1), p, train)[1])
        return x * mask / (1 - p), mask


def _laid_as(value: Tensor, shape: Sequence[int]) -> Tensor:
    """Empty, of another ``shape``, its dimensions in memory in the order of those of ``value``, in which
    numbers are drawn."""
    strides = value.stride()
    order = sorted(range(value.dim()), key=lambda d: -strides[d])
    back = sorted(range(value.dim()), key=order.__getitem__)
    return value.new_empty([shape[d] for d in order]).permute(back)
