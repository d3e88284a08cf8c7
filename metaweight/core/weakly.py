"""Values that go with an object as long as it lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class PerObject(Generic[K, V]):
    """A value for each object, made by ``make`` when it is asked for; a copy or a pickle starts empty."""

    def __init__(self, make: Callable[[], V]) -> None:
        self._make = make
        self._values: weakref.WeakKeyDictionary[Any, V] = weakref.WeakKeyDictionary()

    def __getitem__(self, key: K) -> V:
        if key not in self._values:
            self._values[key] = self._make()
        return self._values[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._make,)
