"""Variants of a test that ``make test`` leaves out and ``make test-slow`` runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import combinations, product
from typing import Any

import pytest


def slowly(*variants: Any) -> list[Any]:
    """Each as a parameter of its own, marked; a tuple is one of several arguments."""
    every = (one if isinstance(one, tuple) else (one,) for one in variants)
    return [pytest.param(*one, marks=pytest.mark.slow) for one in every]


def one_in(count: int, variants: Iterable[Any], first: int = 0) -> list[Any]:
    """The one at place ``first`` and every so many after it as they are; those between them marked."""
    return [one if place % count == first % count else slowly(one)[0] for place, one in enumerate(variants)]


def covering(*axes: Iterable[Any], pairs: bool = False) -> list[Any]:
    """All that can be made of one value of each axis, for one ``parametrize``; most of it is marked.

    Left unmarked are few in which each value of each axis is, or with ``pairs`` each two values of two axes.
    A value that is a tuple is one of several arguments.
    """
    listed = [list(axis) for axis in axes]
    every = list(product(*(range(len(axis)) for axis in listed)))
    groups = list(combinations(range(len(listed)), 2)) if pairs else [(axis,) for axis in range(len(listed))]
    parts = {one: {(group, tuple(one[a] for a in group)) for group in groups} for one in every}
    missing, used, chosen = set().union(*parts.values()), Counter[Any](), set()
    while missing:
        best = max(every, key=lambda one: (len(parts[one] & missing), -sum(used[p] for p in enumerate(one))))
        chosen.add(best)
        missing -= parts[best]
        used.update(enumerate(best))
    found = []
    for one in every:
        values = tuple(axis[place] for axis, place in zip(listed, one, strict=True))
        flat = tuple(v for value in values for v in (value if isinstance(value, tuple) else (value,)))
        found.append(flat if one in chosen else slowly(flat)[0])
    return found
