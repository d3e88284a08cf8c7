"""What is measured of each variant outside the rounds: first try, FLOPs, deviation, memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track

from benchmarks.speed.exactness import Exactness
from benchmarks.speed.flops import flops_of, waits_of
from benchmarks.speed.iterate import Iterate, Refused, prepare, tried
from benchmarks.speed.measure import memory_in_fresh_process
from benchmarks.speed.start import fresh_start, random_pair
from benchmarks.speed.table import Facts
from benchmarks.speed.variants import Setting, Variant

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """Which of the slower measurements are wanted."""

    flops: bool = True
    """And how often the device is waited for."""
    deviation: bool = True
    memory: bool = True


def try_all(
    variants: Sequence[Variant], setting: Setting, console: Console
) -> tuple[dict[Variant, Iterate], dict[str, Facts]]:
    """The iterations of those variants that run here, and why the others do not."""
    iterates: dict[Variant, Iterate] = {}
    refused: dict[str, Facts] = {}
    for variant in track(variants, "first iterations", console=console):
        wide = replace(setting, meta_batch=widest([variant], setting))
        train, meta = random_pair(wide, torch.Generator().manual_seed(setting.seed))
        try:
            iterate = prepare(variant, fresh_start(setting), setting)
            tried(variant, iterate, [train] * variant.unroll, meta)
        except Refused as error:
            refused[variant.name] = Facts(refused=str(error))
        else:
            iterates[variant] = iterate
    return iterates, refused


def widest(variants: Sequence[Variant], setting: Setting) -> int:
    """Samples of the largest meta batch."""
    return max(variant.meta_batch or setting.meta_batch for variant in variants)


def gather(variants: Sequence[Variant], setting: Setting, asked: Asked, console: Console) -> dict[str, Facts]:
    """The facts of variants that run here; what fails is told, and stays unknown."""
    exactness = Exactness(setting)
    found: dict[str, Facts] = {}
    for variant in track(variants, "FLOPs, deviations, memory", console=console):

        def get(wanted: bool, what: str, work: Callable[[], T], name: str = variant.name) -> T | None:
            try:
                return work() if wanted else None
            except Exception as error:  # a peer may raise anything, and hours of rounds are behind us
                console.print(f"{what} of {name!r}: not measured, {error}", style="yellow", markup=False)
                return None

        found[variant.name] = Facts(
            extra_bytes=get(asked.memory, "memory", partial(memory_in_fresh_process, variant, setting)),
            flops=get(asked.flops, "FLOPs", partial(flops_of, variant, setting)),
            deviation=get(asked.deviation, "deviation", partial(exactness.of, variant)),
            waits=get(asked.flops, "waits", partial(waits_of, variant, setting)),
        )
    return found
