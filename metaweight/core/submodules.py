"""The submodules of a module by name, walked anew only where one has got others."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import TypeVar

from torch import Tensor, nn

Parts = list[tuple[str, nn.Module]]
T = TypeVar("T", bound=Tensor)

Children = tuple[tuple[str, int], ...]

_known: weakref.WeakKeyDictionary[nn.Module, list[tuple[str, weakref.ref[nn.Module], Children]]] = (
    weakref.WeakKeyDictionary()
)
"""Module -> it and all below it, with the children that each had; nothing here keeps one alive."""


def submodules(module: nn.Module) -> Parts:
    """As ``named_modules()``, the module itself first; where nothing has changed in less of its time."""
    parts: Parts = []
    for name, held, children in _known.get(module, ()):
        part = held()
        if part is None or _children(part) != children:
            break
        parts.append((name, part))
    else:
        if parts:
            return parts
    parts = list(module.named_modules())
    _known[module] = [(name, weakref.ref(part), _children(part)) for name, part in parts]
    return parts


def _children(part: nn.Module) -> Children:
    return tuple([(name, id(child)) for name, child in part._modules.items()])


def named_tensors(tables: Iterable[tuple[str, Mapping[str, T | None]]]) -> dict[str, T]:
    """The tensors of parts, in ``tables`` by the part's name, with their full names; a shared one once."""
    found: dict[str, T] = {}
    for name, table in tables:
        for key, value in table.items():
            if value is not None:
                found[f"{name}.{key}" if name else key] = value
    if len(set(map(id, found.values()))) == len(found):
        return found
    first: dict[int, str] = {}
    for name, value in found.items():
        first.setdefault(id(value), name)
    return {name: found[name] for name in first.values()}
