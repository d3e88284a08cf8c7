"""What an iteration costs beside plain training."""

from __future__ import annotations

import dataclasses
import time
from statistics import median

from metaweight.config import RunConfig
from metaweight.report.tables import Column
from metaweight.tasks.base import Prepared, tasks

COST = Column("cost, plain steps", "cost", digits=1, spread=False)
"""The column that every task's table ends with; a grid measures it."""


def iteration_cost(config: RunConfig, prepared: Prepared, *, rounds: int = 8) -> float:
    """Time of one iteration in plain steps: medians of interleaved rounds on twins of the run's start."""
    task = tasks[config.task]
    arms = [
        task.build(dataclasses.replace(config, teacher="uniform", teacher_options=()), prepared),
        task.build(config, prepared),
    ]
    train, meta = task.sources(config, prepared)
    seconds: list[list[float]] = [[], []]
    cycle = rounds * config.every
    for step in range(-2 * config.every, cycle):
        for arm, spent in zip(arms, seconds, strict=True):
            batch, trusted = train.batch(0, step % len(train)), meta.batch(0, step % len(meta))
            started = time.perf_counter()
            arm.step(batch, trusted)
            if step >= 0:  # the first ones warm up caches and run each engine's once-only checks
                spent.append(time.perf_counter() - started)
    plain, reweighted = (
        median(sum(spent[i : i + config.every]) for i in range(0, cycle, config.every)) for spent in seconds
    )
    return reweighted / plain
