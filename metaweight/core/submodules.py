"""The submodules of a module by name, walked anew only where one has got others."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from itertools import chain
from operator import methodcaller
from typing import TypeVar

from torch import Tensor, nn

Parts = list[tuple[str, nn.Module]]
T = TypeVar("T", bound=Tensor)
Children = tuple[tuple[int, ...], tuple[str, ...], tuple[int, ...]]
"""Of all parts one after the other: how many each has, their names, their ids."""

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
"""What they give is what came in, with noise."""

_known: weakref.WeakKeyDictionary[nn.Module, tuple[list[str], list[weakref.ref[nn.Module]], Children]] = (
    weakref.WeakKeyDictionary()
)
"""Module -> it and all below it, with the children that each had; nothing here keeps one alive."""

_keys, _values = methodcaller("keys"), methodcaller("values")  # scripted parts have no dict of children


def submodules(module: nn.Module) -> Parts:
    """As ``named_modules()``, the module itself first; where nothing has changed in less of its time."""
    if module in _known:
        names, held, children = _known[module]
        parts = [part for part in [ref() for ref in held] if part is not None]
        if len(parts) == len(held) and _children(parts) == children:
            return list(zip(names, parts, strict=True))
    found = list(module.named_modules())
    parts = [part for _, part in found]
    _known[module] = [name for name, _ in found], list(map(weakref.ref, parts)), _children(parts)
    return found


def _children(parts: list[nn.Module]) -> Children:
    tables = [part._modules for part in parts]
    ids = map(id, chain.from_iterable(map(_values, tables)))
    return tuple(map(len, tables)), tuple(chain.from_iterable(map(_keys, tables))), tuple(ids)


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
