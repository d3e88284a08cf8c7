"""Where a loss keeps state: attributes, buffers, the variables of a closure."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, MutableMapping
from typing import Any

from torch import nn

Owner = MutableMapping[str, Any]
DEEP = 3
"""Calls within calls that are followed: a closure over an object over a module."""


def owners_of(loss: object, where: str, deep: int = DEEP) -> Iterator[tuple[str, Owner]]:
    """What holds the state of a callable, each with its name for people."""
    if deep == 0 or isinstance(loss, type | types.ModuleType | types.BuiltinFunctionType):
        return
    if isinstance(loss, functools.partial):
        yield from owners_of(loss.func, where, deep)
    elif isinstance(loss, types.MethodType):
        yield from owners_of(loss.__self__, where, deep)
    elif isinstance(loss, nn.Module):
        for name, part in loss.named_modules():
            for own in (vars(part), part._buffers, part._parameters):
                yield f"{where}{name + '.' if name else ''}", own
    elif isinstance(loss, types.FunctionType):
        names = Names(loss)
        if names:
            yield where, names
        for name, value in names.items():
            if callable(value):
                yield from owners_of(value, f"{where}{name}.", deep - 1)
    elif isinstance(own := getattr(loss, "__dict__", None), dict):
        yield where, own
        for name, value in own.items():
            if callable(value):
                yield from owners_of(value, f"{where}{name}.", deep - 1)


class Names(MutableMapping[str, Any]):
    """The variables that a function reads from around it: those of its closure, and global ones."""

    def __init__(self, function: types.FunctionType) -> None:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        self._cells = {name: cell for name, cell in cells if _filled(cell)}
        self._globals = function.__globals__
        self._names = [
            name
            for name in function.__code__.co_names
            if name in self._globals and not _is_code(self._globals[name])
        ]

    def __getitem__(self, key: str) -> Any:
        return self._cells[key].cell_contents if key in self._cells else self._globals[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self._cells:
            self._cells[key].cell_contents = value
        else:
            self._globals[key] = value

    def __delitem__(self, key: str) -> None:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        yield from self._cells
        yield from self._names

    def __len__(self) -> int:
        return len(self._cells) + len(self._names)


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _is_code(value: object) -> bool:
    """Whether it is code that keeps no state: a class, a module, a function of a library."""
    if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType):
        return True
    return isinstance(value, types.FunctionType) and value.__module__.split(".")[0] in _LIBRARIES


_LIBRARIES = ("torch", "metaweight", "transformers")
