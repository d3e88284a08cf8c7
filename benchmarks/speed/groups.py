"""Which variants are compared: groups, each a function of the setting, and patterns of names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import metaweight as mw
from benchmarks.speed.peers import peers
from benchmarks.speed.students import subject
from benchmarks.speed.variants import PLAIN, Setting, Variant
from metaweight.core.registry import Registry, did_you_mean

SCHEDULES = ("lookahead", "online")
ENGINE_OPTIONS: dict[str, tuple[dict[str, object], ...]] = {
    "difference": ({}, {"sides": 1}),
    "reverse": ({"replay": "momentum"}, {"replay": "snapshots"}),
}
"""Engine -> the options that it is measured with; an engine that is not named here has one row, ``{}``."""
SWEPT = ("higher", "forward")
"""The engines that the sizes of the meta set are tried with: the reference and the default of many."""
KEEPING: dict[str, object] = {"keep_convolutions": True}
"""Of ``forward``, which differs with ``online`` and a convolutional student alone."""
RANKS: tuple[dict[str, object], ...] = ({"rank": 4}, {}, {"rank": 64}, {"refresh": 10})
"""Options of ``first-order``."""
EVERY = (1, 2, 5, 10)
META_BATCHES = (25, 50, 100)
UNROLLS = (1, 2, 4, 8, 16)
UNROLLED = ("higher", "reverse")
"""The engines that take any number of inner steps."""
UNROLL_SCHEDULE = "gradient"

Group = Callable[[Setting], Iterator[Variant]]
groups: Registry[Group] = Registry("group")


def built(engines: Iterable[str]) -> Iterator[tuple[str, dict[str, object]]]:
    """Those of ``engines`` that this metaweight has, with each choice of their options."""
    for engine in engines:
        if engine in mw.engines.names():
            for options in ENGINE_OPTIONS.get(engine, ({},)):
                yield engine, options


def layouts(setting: Setting) -> list[str]:
    """The usual memory format, and the fast one where that is another."""
    return list(dict.fromkeys(("contiguous", subject(setting.model).fast_layout)))


def both_schedules(setting: Setting, **mode: Any) -> Iterator[Variant]:
    """Every engine with both schedules."""
    for schedule, (engine, options) in product(SCHEDULES, built(mw.engines.names())):
        yield Variant(engine, schedule, options=options, **mode)
    if subject(setting.model).convolutions:
        yield Variant("forward", "online", options=KEEPING, **mode)


@groups.register("engines")
def every_engine(setting: Setting) -> Iterator[Variant]:
    """Every engine with both schedules, eager and in float32."""
    yield from both_schedules(setting)


@groups.register("modes")
def every_mode(setting: Setting) -> Iterator[Variant]:
    """Plain training and every engine compiled, images with channels last, in bf16, and all of these."""
    usual, *others = layouts(setting)
    fast = others[-1] if others else usual
    modes = [("float32", usual, True), *product(("float32",), others, (False, True))]
    modes += product(("bf16",), (fast,), (False, True))
    for precision, layout, compiled in modes:
        mode = {"compile": compiled, "precision": precision, "memory_format": layout}
        yield Variant(**mode)
        yield from both_schedules(setting, **mode)


@groups.register("every")
def every_nth(_: Setting) -> Iterator[Variant]:
    """A teacher update in each 1st, 2nd, 5th, 10th iteration."""
    for every in EVERY:
        yield Variant("forward", every=every)


@groups.register("meta-batch")
def meta_batches(_: Setting) -> Iterator[Variant]:
    """Meta batches of 25, 50 and 100."""
    for size, schedule, engine in product(META_BATCHES, SCHEDULES, SWEPT):
        yield Variant(engine, schedule, meta_batch=size)


@groups.register("cheap")
def less_often_and_fewer(setting: Setting) -> Iterator[Variant]:
    """``forward``, online, with a quarter of the meta batch or every 5th step; eager, compiled, by layout."""
    quarter = max(setting.meta_batch // 4, 2)
    options = KEEPING if subject(setting.model).convolutions else {}
    rarer = ({"meta_batch": quarter}, {"every": 5}, {"meta_batch": quarter, "every": 5})
    for fewer, layout, compiled in product(rarer, layouts(setting), (False, True)):
        mode: dict[str, Any] = {"compile": compiled, "memory_format": layout, **fewer}
        yield Variant("forward", "online", options=options, **mode)


@groups.register("unroll")
def unrolled(_: Setting) -> Iterator[Variant]:
    """The gradient through 1 to 16 inner steps."""
    for (engine, options), unroll in product(built(UNROLLED), UNROLLS):
        yield Variant(engine, UNROLL_SCHEDULE, unroll=unroll, options=options)


@groups.register("first-order")
def along_thin_directions(setting: Setting) -> Iterator[Variant]:
    """An eighth of the meta batch: exact, and by ``first-order`` with other ranks and older directions."""
    few = {"meta_batch": max(setting.meta_batch // 8, 2)}
    yield Variant("higher", **few)
    for schedule in SCHEDULES:
        yield Variant("ghost", schedule, **few)
        yield Variant("ghost", schedule, checked=True, **few)
        for options in RANKS:
            yield Variant("first-order", schedule, options=options, **few)


@groups.register("peers")
def other_libraries(_: Setting) -> Iterator[Variant]:
    """The classical iteration by other libraries, and ``higher`` of metaweight beside them."""
    yield Variant("higher")
    for name in peers.names():
        yield Variant(peer=name)


def chosen(names: Sequence[str], setting: Setting, only: Sequence[str] = ()) -> list[Variant]:
    """The plain step, then the variants of the groups ``names`` whose name matches a pattern of ``only``.

    No pattern takes all.  Raises KeyError for an unknown group, or a pattern that matches nothing.
    """
    found = dict.fromkeys(variant for name in names for variant in groups[name](setting) if variant != PLAIN)
    for pattern in only:
        if not any(fnmatchcase(variant.name, pattern) for variant in found):
            near = did_you_mean(pattern, [variant.name for variant in found])
            raise KeyError(f"no variant of {', '.join(names)} matches {pattern!r}.{near}")
    kept = [v for v in found if not only or any(fnmatchcase(v.name, p) for p in only)]
    return [PLAIN, *kept]
