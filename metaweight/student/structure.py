"""The tensors inside of a module's outputs: in tuples, lists, mappings, dataclasses and plain objects."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

T = TypeVar("T")
Change = Callable[[Tensor], Any]


def parts_of(outputs: Any) -> dict[Any, Any]:
    """The parts of outputs by key or attribute; none where they have no such parts."""
    parts = _named_parts(outputs)
    if parts is None and hasattr(outputs, "__dict__") and not isinstance(outputs, Tensor | tuple | list):
        return dict(vars(outputs))
    return parts or {}


def _named_parts(outputs: Any) -> dict[Any, Any] | None:
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return dict(zip(outputs._fields, outputs, strict=True))
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        return {field.name: getattr(outputs, field.name) for field in dataclasses.fields(outputs)}
    return None


def map_tensors(change: Change, outputs: Any) -> Any:
    """``outputs`` with every tensor changed, in the same form; what holds none stays the same object.

    torch's own pytrees know neither dataclasses nor subclasses of a mapping: these are leaves there.
    Plain objects are looked into at the top only: deeper ones may refer to each other in a circle.
    """
    parts = _named_parts(outputs)
    return _mapped(change, outputs, parts_of(outputs) if parts is None else parts)


def _mapped(change: Change, outputs: Any, parts: Mapping[Any, Any] | None) -> Any:
    def deeper(part: Any) -> Any:
        return _mapped(change, part, _named_parts(part))

    if isinstance(outputs, Tensor):
        return change(outputs)
    if isinstance(outputs, tuple | list):
        changed_parts = [deeper(part) for part in outputs]
        if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
            return type(outputs)(*changed_parts)
        return changed_parts if isinstance(outputs, list) else tuple(changed_parts)
    if not parts or not any(_inside(part, _named_parts(part)) for part in parts.values()):
        return outputs
    if type(outputs) is dict:
        return {key: deeper(part) for key, part in parts.items()}
    changed = copy.copy(outputs)
    for key, part in parts.items():
        if isinstance(outputs, Mapping):
            changed[key] = deeper(part)
        else:
            object.__setattr__(changed, key, deeper(part))  # a dataclass may be frozen
    return changed


def tensors_in(outputs: Any) -> list[Tensor]:
    """Every tensor in outputs, in the order in which ``map_tensors`` comes by."""
    parts = _named_parts(outputs)
    return _inside(outputs, parts_of(outputs) if parts is None else parts)


def _inside(outputs: Any, parts: Mapping[Any, Any] | None) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    deeper = outputs if isinstance(outputs, tuple | list) else (parts or {}).values()
    return [tensor for part in deeper for tensor in _inside(part, _named_parts(part))]


def dual_outputs(outputs: Any, tangents: Sequence[Tensor | None]) -> Any:
    """Outputs as dual numbers with a tangent for each of their tensors, None for one that cannot move."""
    rest = iter(tangents)

    def dual(value: Tensor) -> Tensor:
        tangent = next(rest)
        return value if tangent is None else forward_ad.make_dual(value, tangent)

    return map_tensors(dual, outputs)


def in_full(outputs: Any, dtype: torch.dtype) -> Any:
    """Outputs of a pass in lower precision with every floating tensor in ``dtype``."""
    return map_tensors(lambda value: value.to(dtype) if value.is_floating_point() else value, outputs)
