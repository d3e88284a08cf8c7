"""Means: of a tap's output over space or real positions in time, one row a unit, and of units by group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from metaweight.core.contracts import Batch, Units


@dataclass(frozen=True)
class TimeAxis:
    """Which positions of a tap [B, T, D] are real; padding never enters a mean.

    Raises ValueError for a mask that is not bool of shape [B, T].
    """

    real: Tensor
    """[B, T] bool."""
    of_targets: bool = False
    """Whether position t is that of target t, so that a token as a unit has a state of its own."""

    def __post_init__(self) -> None:
        if self.real.dtype != torch.bool or self.real.dim() != 2:
            got = f"{self.real.dtype} of shape {tuple(self.real.shape)}"
            raise ValueError(f"TimeAxis.real is bool of shape [B, T], got {got}; write mask.bool()")


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
    values = value.where(real[..., None], value.new_zeros(()))
    mean = values.sum(dim=1) / real.sum(dim=1, keepdim=True).clamp_min(1)
    return mean


def tap_tensor(value: Any) -> Tensor:
    """A tap's output, or its first item if it is a tuple.  Raises ValueError for anything but [B, D, ...]."""
    if isinstance(value, tuple):
        value = value[0]
    if not isinstance(value, Tensor) or value.dim() < 2:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"a tap's output is a tensor [U, ...] with two dimensions or more, got {shape}")
    return value


@dataclass(frozen=True)
class TapReading:
    """What a tap showed when its module had run; a later one may overwrite its output in place."""

    tap: str
    rows: Tensor
    """[B, D], the mean over space or over real positions in time."""
    over_time: bool
    axis: TimeAxis | None
    states: Tensor | None
    """[B, T, D], where position t is that of target t."""


def read_tap(tap: str, value: Any, batch: Batch, axes: TimeAxes | None) -> TapReading:
    """Read a tap's output.

    Raises ValueError where its shape is not that of the batch or of its axis, and over token ids whose
    padding nobody named.
    """
    value = tap_tensor(value)
    if len(value) != len(batch):
        raise ValueError(
            f"tap {tap!r} gives shape {tuple(value.shape)} for {len(batch)} samples: choose one whose first "
            "dimension is the batch's, as batch_first=True makes it"
        )
    over_time = value.dim() == 3
    axis = None
    if over_time:
        axis = axes(tap, batch) if axes is not None else _told_axis(tap, value, batch)
    rows = pool(value, None if axis is None else axis.real)
    states = value.clone() if axis is not None and axis.of_targets else None
    return TapReading(tap, rows, over_time, axis, states)


def _told_axis(tap: str, value: Tensor, batch: Batch) -> TimeAxis | None:
    """The axis of a tap [B, T, D] that nobody described: ``attention_mask`` says it, or nothing is padded.

    Raises ValueError where the batch has token ids [B, T] and nobody says which are padding: the mean would
    take it in, without a word.
    """
    mask = batch.kwargs.get("attention_mask")
    if isinstance(mask, Tensor) and mask.shape == value.shape[:2] and not mask.is_floating_point():
        return TimeAxis(mask.bool())
    for name, ids in [*enumerate(batch.args), *batch.kwargs.items()]:
        # of one row alone, as position ids are, nothing is padded
        if isinstance(ids, Tensor) and ids.dim() == 2 and len(ids) == len(value) and _counts(ids):
            raise ValueError(
                f"tap {tap!r} runs over time, {tuple(value.shape)}, and inputs[{name!r}] "
                f"{tuple(ids.shape)} looks like token ids, of which padding would enter the mean: say which "
                "positions are real, Student(..., time_axes=lambda tap, batch: TimeAxis(mask)) with a mask "
                f"{tuple(value.shape[:2])}, or lambda tap, batch: None where nothing is padded"
            )
    return None


def _counts(values: Tensor) -> bool:
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def unit_features(reading: TapReading, units: Units) -> Tensor:
    """The features [U, D] of a tap.

    A token takes its own state where the tap runs over the targets, else the mean of its row.  Raises
    ValueError for a tap over time in a batch with padding whose real positions nobody named.
    """
    if reading.axis is None and reading.over_time and units.real is not None:
        raise ValueError(
            f"tap {reading.tap!r} runs over time and sentences are padded: say which positions are real, "
            "Student(..., time_axes=...)"
        )
    if not units.each_token or reading.states is None:
        return units.of_rows(reading.rows)
    assert units.real is not None
    if reading.states.shape[:2] != units.real.shape:
        shapes = f"{tuple(reading.states.shape)} and {tuple(units.real.shape)}"
        raise ValueError(f"tap {reading.tap!r} is said to run over the targets, got shapes {shapes}")
    tokens: Tensor = reading.states[units.real]
    return tokens


def source_lengths(reading: TapReading, units: Units) -> Tensor | None:
    """Real positions [U] of the unit's row in a tap over the source; None for any other tap."""
    if reading.axis is None or reading.axis.of_targets:
        return None
    return units.of_rows(reading.axis.real.sum(dim=1)).to(reading.rows.dtype)


@contextmanager
def tapped(
    module: nn.Module, taps: Sequence[str], batch: Batch, axes: TimeAxes | None, into: dict[str, TapReading]
) -> Iterator[None]:
    """Passes of ``module`` inside leave their taps' readings in ``into``."""

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            into[name] = read_tap(name, output, batch, axes)

        return hook

    handles = [module.get_submodule(name).register_forward_hook(keep(name)) for name in taps]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
