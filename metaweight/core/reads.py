"""What is asked of the device, read in one go: each read waits until the device has done all before it.

A check says what would be wrong with ``doubt``.  It is read at once, or inside of ``together`` with all
others at ``settle``, which an iteration calls before it changes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor

Fail = Callable[[], object]
"""Called where a doubt was right: looks again, and raises."""


class Numbers(Mapping[str, float]):
    """Single numbers by name that stay on the device until one of them is asked for; then all are read.

    ``names``: those that are shown, of values that are read together with others.
    """

    def __init__(self, values: Mapping[str, Tensor | float], names: Sequence[str] | None = None) -> None:
        shared = values._values if isinstance(values, Numbers) else dict(values)
        self._values: dict[str, Tensor | float] = shared
        self._names = tuple(values if names is None else names)

    def __getitem__(self, name: str) -> float:
        if name not in self._names:
            raise KeyError(name)
        read([self])
        return float(self._values[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))

    def unread(self) -> dict[str, Tensor | float]:
        """The values as they are, tensors where nobody has asked yet."""
        return {name: self._values[name] for name in self._names}

    def waiting(self) -> dict[str, Tensor]:
        """Those that nobody has read, with all that they are read together with."""
        return {name: value for name, value in self._values.items() if isinstance(value, Tensor)}

    def take(self, read: Mapping[str, float]) -> None:
        """Put numbers in the place of tensors."""
        self._values.update(read)


@dataclass
class _Waiting:
    doubts: list[tuple[Tensor, Fail]] = field(default_factory=list)
    numbers: list[Numbers] = field(default_factory=list)


_waiting: ContextVar[_Waiting | None] = ContextVar("_waiting", default=None)


def doubt(bad: Tensor, fail: Fail) -> None:
    """Call ``fail``, which raises, where the single bool ``bad`` holds: now, or when doubts are settled."""
    waiting = _waiting.get()
    if waiting is not None:
        waiting.doubts.append((bad.detach(), fail))
    elif bool(bad):
        fail()


@contextmanager
def together(numbers: Sequence[Numbers] = ()) -> Iterator[None]:
    """Doubts inside wait for ``settle``, which is called at the end too.

    An error from elsewhere gives way to that of a doubt from before it: what is NaN makes others fail.
    ``numbers`` that wait are read on the way, at no cost.
    """
    outer = _waiting.get()
    waiting = outer or _Waiting()
    waiting.numbers.extend(numbers)
    token = _waiting.set(waiting)
    try:
        yield
        settle()
    except Exception:
        settle()
        raise
    finally:
        _waiting.reset(token)


def settle() -> None:
    """Read all doubts that wait, from outer blocks too; the first that is right raises."""
    waiting = _waiting.get()
    if waiting is None or not waiting.doubts:
        return
    doubts, numbers = waiting.doubts, waiting.numbers
    waiting.doubts, waiting.numbers = [], []
    token = _waiting.set(None)  # who looks again wants to know at once
    try:
        for (_, fail), bad in zip(doubts, read(numbers, [bad for bad, _ in doubts]), strict=True):
            if bad:
                fail()
    finally:
        _waiting.reset(token)


def read(numbers: Sequence[Numbers], more: Sequence[Tensor] = ()) -> list[float]:
    """Read ``numbers`` that wait, and ``more`` single values, which it gives: one transfer from a device."""
    waiting = [one.waiting() for one in numbers]
    values = [*more, *(value for named in waiting for value in named.values())]
    if not values:
        return []
    # bool and float32 become float64 where one is: no digit is lost
    known = torch.stack([value.to(values[0].device) for value in values]).tolist()
    place = len(more)
    for one, named in zip(numbers, waiting, strict=True):
        one.take(dict(zip(named, known[place : place + len(named)], strict=True)))
        place += len(named)
    return known[: len(more)]
