"""The submodules of a module by name, walked anew only where one has got others."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

Parts = list[tuple[str, nn.Module]]
T = TypeVar("T", bound=Tensor)

_known: weakref.WeakKeyDictionary[nn.Module, tuple[Parts, list[dict[str, Any]]]] = weakref.WeakKeyDictionary()
"""Module -> all below it, and the children that it and they had."""


def submodules(module: nn.Module) -> Parts:
    """As ``named_modules()``, the module itself first; where nothing has changed in a tenth of its time."""
    below, children = _known.get(module, ([], []))
    parts = [("", module), *below]
    if children != [part._modules for _, part in parts]:
        parts = list(module.named_modules())
        _known[module] = parts[1:], [dict(part._modules) for _, part in parts]
    return parts


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
