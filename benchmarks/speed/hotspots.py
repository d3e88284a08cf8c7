"""Where an iteration's time goes, by torch's operators: ``python -m benchmarks.speed.hotspots --help``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import tyro
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from benchmarks.speed.groups import chosen
from benchmarks.speed.iterate import prepare, tried
from benchmarks.speed.start import fresh_start, random_pair
from benchmarks.speed.students import subject
from benchmarks.speed.variants import Setting, Variant
from metaweight import Batch

OTHERS = "all others"


@dataclass(frozen=True)
class Options:
    """Milliseconds of each operator in an iteration and in the plain step; the profiler slows both."""

    only: tuple[str, ...] = ("forward, *",)
    """Variants, by patterns of their names."""
    groups: tuple[str, ...] = ("engines",)
    """Where they are looked for, see benchmarks.speed.run."""
    model: str = "resnet-32"
    """The student."""
    iterations: int = 5
    """Profiled, after two that are not."""
    rows: int = 12
    """Operators, those with the most time in any variant."""
    threads: int = 2
    """CPU threads of torch."""
    seed: int = 0


def operators(variant: Variant, setting: Setting, iterations: int) -> dict[str, float]:
    """Operator -> ms in one iteration that are its own, not those of operators that it calls."""
    iterate, generator = prepare(variant, fresh_start(setting), setting), torch.Generator().manual_seed(0)

    def pair() -> tuple[list[Batch], Batch]:
        train, meta = random_pair(setting, generator)
        return [train] * variant.unroll, meta

    tried(variant, iterate, *pair())
    iterate(*pair())
    batches = [pair() for _ in range(iterations)]
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for train, meta in batches:
            iterate(train, meta)
    return {event.key: event.self_cpu_time_total / 1e3 / iterations for event in seen.key_averages()}


def to_markdown(found: Mapping[str, Mapping[str, float]], rows: int) -> str:
    """One column for each variant, operators in the order of their most time, the rest in one row."""
    most = {
        key: max(times.get(key, 0.0) for times in found.values()) for times in found.values() for key in times
    }
    named = sorted(most, key=lambda key: -most[key])[:rows]
    lines = [["operator", *(f"{name}, ms" for name in found)], ["---", *["---:"] * len(found)]]
    lines += [[f"`{key}`", *(f"{times.get(key, 0.0):.0f}" for times in found.values())] for key in named]
    rest = [sum(ms for key, ms in times.items() if key not in named) for times in found.values()]
    lines.append([OTHERS, *(f"{ms:.0f}" for ms in rest)])
    lines.append(["sum", *(f"{sum(times.values()):.0f}" for times in found.values())])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(args: Sequence[str] | None = None) -> int:
    """Profile and print; 0, or 2 for a mistake that the message tells how to mend."""
    try:
        options = tyro.cli(Options, args=args, prog="python -m benchmarks.speed.hotspots")
        torch.set_num_threads(options.threads)
        usual = subject(options.model).batch
        setting = Setting(options.model, usual, usual, options.threads, options.seed)
        variants = chosen(options.groups, setting, options.only)
    except KeyError as error:
        Console(stderr=True).print(str(error.args[0]), style="red", markup=False, soft_wrap=True)
        return 2
    print(to_markdown({v.name: operators(v, setting, options.iterations) for v in variants}, options.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
