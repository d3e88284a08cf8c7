"""Values that hold state: copies, what tells a change in place, and putting contents back."""

from __future__ import annotations

import copy
import random
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor

ABSENT = object()
"""In the place of a value where there is none."""


def copied(value: Any) -> Any:
    """A copy of state: tensors without their graph, arrays, generators, and containers of such."""
    if isinstance(value, Tensor):
        tensor = value.detach().clone()
        return tensor.requires_grad_() if value.is_leaf and value.requires_grad else tensor
    if isinstance(value, torch.Generator):
        generator = torch.Generator(device=value.device)
        generator.set_state(value.get_state())
        return generator
    if isinstance(value, np.ndarray | random.Random | np.random.Generator):
        return copy.deepcopy(value)
    if isinstance(value, dict):
        table = copy.copy(value)
        table.update((key, copied(item)) for key, item in value.items())
        return table
    if isinstance(value, list | deque):
        series = copy.copy(value)
        series.clear()
        series.extend(map(copied, value))
        return series
    if type(value) is tuple:
        return tuple(map(copied, value))
    return copy.copy(value) if isinstance(value, set) else value


_GENERATORS = (random.Random, np.random.Generator, torch.Generator)
MUTABLE = (Tensor, np.ndarray, list, dict, deque, set, tuple, *_GENERATORS)
_ELEMENTS = 10_000
"""Of a container, whose change in place is noticed; beyond, only that of its length."""


def shallow(value: Any) -> Any:
    """The items of a container, or the numbers of a small array, to put back; else nothing."""
    if isinstance(value, list | dict | deque | set) and len(value) <= _ELEMENTS:
        return copy.copy(value)
    if isinstance(value, np.ndarray) and value.nbytes <= _ELEMENTS:
        return value.copy()
    return copied(value) if isinstance(value, _GENERATORS) else ABSENT


def refilled(value: Any, before: Any) -> bool:
    """Put the contents ``before`` back into ``value``, which others may hold; False where there are none."""
    if before is ABSENT or isinstance(value, tuple):
        return False
    if isinstance(value, Tensor):
        value.data.copy_(before)
        return bool(value.shape == before.shape)
    if isinstance(value, np.ndarray):
        value[...] = before
    elif isinstance(value, torch.Generator):
        value.set_state(before.get_state())
    elif isinstance(value, random.Random):
        value.setstate(before.getstate())
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = before.bit_generator.state
    elif isinstance(value, dict | set):
        value.clear()
        value.update(before)
    else:
        value.clear()
        value.extend(before)
    return True


def fingerprint(value: Any) -> Any:
    """What differs once ``value`` has been changed in place."""
    if isinstance(value, Tensor):
        return id(value), value._version
    if isinstance(value, np.ndarray):
        return hash(value.tobytes())
    if isinstance(value, random.Random):
        return hash(value.getstate())
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, torch.Generator):
        return hash(value.get_state().numpy().tobytes())
    if not isinstance(value, list | dict | deque | set | tuple):
        return value if isinstance(value, int | float | str | bool) else id(value)
    if len(value) > _ELEMENTS:
        return len(value)
    if isinstance(value, dict):
        return tuple((key, fingerprint(item)) for key, item in value.items())
    return frozenset(value) if isinstance(value, set) else tuple(map(fingerprint, value))


def same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, int | float | str) and bool(a == b))
