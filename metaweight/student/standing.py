"""A module that stands on other parameters and buffers for the time of a call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

from metaweight.core.submodules import submodules

T = TypeVar("T")


def standing_on(module: nn.Module, values: dict[str, Tensor], call: Callable[[], T]) -> T:
    """``call()`` with other parameters and buffers, by name, in ``module``: a shared one wherever it is.

    What the module assigns anew to a buffer of ``values`` stands there afterwards.  Names are those of
    ``named_parameters`` and ``named_buffers``; ``torch.func.functional_call`` walks the module four times.
    Raises KeyError for a name that is neither's.
    """
    places: dict[str, tuple[dict[str, Any], str]] = {}
    shared: defaultdict[int, list[tuple[dict[str, Any], str]]] = defaultdict(list)
    table: dict[str, Any]
    for name, part in submodules(module):
        for table in (part._parameters, part._buffers):
            for key, value in table.items():
                places[f"{name}.{key}" if name else key] = table, key
                if value is not None:
                    shared[id(value)].append((table, key))
    swaps = [
        (table, key, table[key], value)
        for value, (first, name) in [(value, places[name]) for name, value in values.items()]
        for table, key in shared[id(first[name])] or [(first, name)]
    ]
    try:
        for table, key, _, value in swaps:
            table[key] = value
        return call()
    finally:
        for name in values:
            table, key = places[name]
            if key in table:  # a call may have deleted it
                values[name] = table[key]
        for table, key, live, _ in swaps:
            table[key] = live
