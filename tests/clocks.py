"""A clock on which engines take what a test says, so that the verdict is known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from metaweight.engines import Engine, measured


def name(engine: Any) -> str:
    """``Ghost``, ``Reverse momentum``."""
    return f"{type(engine).__name__} {getattr(engine, 'replay', '')}".strip()


def clock(patch: pytest.MonkeyPatch, milliseconds: Mapping[str, float | Sequence[float]]) -> list[str]:
    """Each pass takes the ``milliseconds`` of its engine, several in their order; gives the passes' engines.

    The first pass of each is to warm up.
    """
    now, whole, passes = [0.0], measured._Field._iterate, list[str]()

    def iterate(field: Any, engine: Engine) -> None:
        whole(field, engine)
        times, number = milliseconds[name(engine)], passes.count(name(engine))
        now[0] += 1e6 * (times[number] if isinstance(times, Sequence) else times)
        passes.append(name(engine))

    patch.setattr(measured._Field, "_iterate", iterate)
    patch.setattr(measured, "time", SimpleNamespace(perf_counter_ns=lambda: round(now[0])))
    return passes
