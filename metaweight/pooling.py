"""From a tap's output to one row of features a unit: the mean over space or over real positions in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metaweight.contracts import Batch, Units


@dataclass(frozen=True)
class TimeAxis:
    """Which positions of a tap [B, T, D] are real; padding never enters a mean."""

    real: Tensor
    """[B, T] bool."""
    of_targets: bool = False
    """Whether position t is that of target t, so that a token as a unit has a state of its own."""


TimeAxes = Callable[[str, Batch], "TimeAxis | None"]
"""(tap, batch) -> its axis in time; None for a tap without one."""


def pool(value: Tensor | tuple[Any, ...], real: Tensor | None = None) -> Tensor:
    """A tap's output as [B, D]: the mean over space [B, D, H, W] or time [B, T, D]; a tuple's first item.

    ``real`` [B, T] bool: the positions in time that count.  Raises ValueError for other shapes.
    """
    value = tap_tensor(value)
    if value.dim() == 2:
        return value
    if value.dim() != 3 or real is None:
        mean: Tensor = value.mean(dim=1) if value.dim() == 3 else value.flatten(2).mean(dim=2)
        return mean
    if real.shape != value.shape[:2]:
        raise ValueError(
            f"a tap of shape {tuple(value.shape)} has its time axis described by {tuple(real.shape)}"
        )
    # a sum over where() and not a product: what stands in padding may be infinite
    kept = value.where(real[..., None], value.new_zeros(()))
    mean = kept.sum(dim=1) / real.sum(dim=1, keepdim=True).clamp_min(1)
    return mean


def tap_tensor(value: Any) -> Tensor:
    """A tap's output, or its first item if it is a tuple.  Raises ValueError for anything but [B, D, ...]."""
    if isinstance(value, tuple):
        value = value[0]
    if not isinstance(value, Tensor) or value.dim() < 2:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"a tap's output is a tensor [U, ...] with two dimensions or more, got {shape}")
    return value


def unit_features(tap: str, value: Any, batch: Batch, units: Units, axes: TimeAxes | None) -> Tensor:
    """The features [U, D] of a tap's output.

    A token takes its own state where the tap runs over the targets, else the mean of its row.  Raises
    ValueError for a tap over time in a batch with padding whose real positions nobody named.
    """
    value = tap_tensor(value)
    axis = axes(tap, batch) if axes is not None and value.dim() == 3 else None
    if axis is None and value.dim() == 3 and units.real is not None:
        raise ValueError(
            f"tap {tap!r} runs over time and sentences are padded: say which positions are real, "
            "Student(..., time_axes=...)"
        )
    if units.each_token and axis is not None and axis.of_targets:
        assert units.real is not None
        tokens: Tensor = value[units.real]
        return tokens
    rows = pool(value, None if axis is None else axis.real)
    return rows.repeat_interleave(row_sizes(units), dim=0) if units.each_token else rows


def source_lengths(tap: str, value: Any, batch: Batch, units: Units, axes: TimeAxes | None) -> Tensor | None:
    """Real positions [U] of the unit's row in a tap over the source; None for any other tap."""
    value = tap_tensor(value)
    axis = axes(tap, batch) if axes is not None and value.dim() == 3 else None
    if axis is None or axis.of_targets:
        return None
    lengths = axis.real.sum(dim=1)
    if units.each_token:
        lengths = lengths.repeat_interleave(row_sizes(units))
    return lengths.to(value.dtype)


def row_sizes(units: Units) -> Tensor:
    """Real tokens of each row [B]."""
    assert units.real is not None
    return units.real.sum(dim=1)
