"""A student's outputs, whatever their form: where the logits are, and what the loss makes of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from metaweight.core.batch import Batch
from metaweight.core.contracts import Units
from metaweight.core.registry import did_you_mean
from metaweight.student.losses.base import UnitLoss, is_pooled, takes_logits
from metaweight.student.structure import parts_of

Logits = str | int | None
"""The key or attribute of the logits in the outputs, their place in a tuple; None: they are found."""


def logits_in(outputs: Any, name: Logits = None) -> Tensor | None:
    """The logits in a student's outputs; None where no tensor stands out.

    Not named, they are the outputs themselves, what is called "logits", a tuple's first tensor, or the only
    tensor that is not called "loss".  Raises KeyError for an unknown name, TypeError for what is no tensor.
    """
    if name is not None:
        return _named(outputs, name)
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, tuple | list) and not hasattr(outputs, "_fields"):
        return next((part for part in outputs if isinstance(part, Tensor)), None)
    parts = parts_of(outputs)
    tensors = {key: part for key, part in parts.items() if isinstance(part, Tensor) and key != "loss"}
    if "logits" in tensors:
        return tensors["logits"]
    if isinstance(outputs, tuple):
        return next(iter(tensors.values()), None)
    return next(iter(tensors.values())) if len(tensors) == 1 else None


def _named(outputs: Any, name: str | int) -> Tensor:
    parts = parts_of(outputs)
    if isinstance(outputs, tuple | list) and not (isinstance(name, str) and parts):
        count = len(outputs)
        parts = {place: outputs[place] for place in range(-count, count)}
    if name not in parts:
        kind = type(outputs).__name__
        raise KeyError(
            f"logits={name!r} is not in the student's outputs, {kind}."
            f"{did_you_mean(str(name), map(str, parts))}"
        )
    value = parts[name]
    if not isinstance(value, Tensor):
        raise TypeError(f"logits={name!r} of the student's outputs is {type(value).__name__}, not a tensor")
    return value


def units_of(loss: UnitLoss, outputs: Any, logits: Tensor | None, batch: Batch) -> Units:
    """The units of a batch: ``loss`` of the logits where it takes these alone, else of the whole outputs.

    Raises TypeError where there are no logits for it, ValueError where it does not give one value a unit.
    """
    of_logits = takes_logits(loss)
    if of_logits and logits is None:
        there = ", ".join(map(repr, parts_of(outputs)))
        raise TypeError(
            f"the student gives {type(outputs).__name__}{f' with {there}' if there else ''} where logits "
            '[U, C] were expected: name them, Student(..., logits="name"), or give the Student a loss of its '
            "own, loss=lambda outputs, targets: ..."
        )
    result = loss(logits if of_logits else outputs, batch.targets)
    if isinstance(result, Units):
        units = result
    elif isinstance(result, tuple):
        units = Units(*result, pooled=is_pooled(loss))
    elif isinstance(result, Tensor):
        _require_units(result, logits, batch)
        units = Units(result, torch.ones_like(result.detach()))
    else:
        raise TypeError(f"the student's loss gives a tensor [{len(batch)}], got {type(result).__name__}")
    if units.real is not None and units.real.shape != batch.targets.shape:
        shapes = f"{tuple(units.real.shape)} for targets {tuple(batch.targets.shape)}"
        raise ValueError(f"Units.real says of every target whether it is real, got shape {shapes}")
    count = int(units.real.sum()) if units.each_token and units.real is not None else len(batch)
    if units.loss.shape != (count,):
        got = tuple(units.loss.shape)
        raise ValueError(
            f"the student's loss gives one value a unit, shape [{count}], got {got}; use reduction='none'"
        )
    return units


def _require_units(loss: Tensor, logits: Tensor | None, batch: Batch) -> None:
    """Raise ValueError, with the reason as well as it can be told, for a loss that is not one a unit."""
    size = len(batch)
    if not loss.is_floating_point():
        raise ValueError(f"the student's loss is a floating tensor [{size}], got {loss.dtype}")
    if loss.shape == (size,):
        return
    given = "the student's loss gives one value a unit, shape "
    if loss.dim() == 0:
        raise ValueError(
            f"{given}[{size}], got (), one number for the whole batch: give the loss reduction='none' and "
            "mean over all dimensions but the first; where a model computes its own loss, take its logits: "
            "Student(module, loss=metaweight.losses.cross_entropy)"
        )
    got = tuple(loss.shape)
    if logits is not None and loss.dim() == 2 and got == (size, size):
        shapes = f"{tuple(logits.shape)} and targets {tuple(batch.targets.shape)}"
        raise ValueError(
            f"{given}[{size}], got {got}: outputs {shapes} were broadcast against each other; bring both to "
            "one shape, outputs.squeeze(1) or targets[:, None]"
        )
    if loss.dim() > 1 and len(loss) == size:
        raise ValueError(
            f"{given}[{size}], got {got}; use reduction='none' and take the mean over all dimensions but the "
            "first, loss.flatten(1).mean(1)"
        )
    raise ValueError(f"{given}[{size}], got {got}; use reduction='none'")


def shown_logits(logits: Tensor | None, units: Units, batch: Batch) -> Tensor:
    """What a teacher may see of the outputs: the logits [B, ...], or [B, 0] where no row has any."""
    if logits is not None and logits.dim() > 0 and len(logits) == len(batch):
        return logits
    if units.each_token and units.real is not None:
        return units.loss.new_zeros(*units.real.shape, 0)
    return units.loss[:, None][:, :0]  # with the loss's graph, as logits have theirs
