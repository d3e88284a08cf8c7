"""What an iteration costs beside plain training."""

from __future__ import annotations

import dataclasses
import time
from statistics import median

from metaweight.reweighter import Reweighter
from metaweight.tasks.assembly import trains_on_meta
from metaweight.tasks.base import Prepared, tasks
from metaweight.tasks.config import RunConfig
from metaweight.tasks.figures import Column
from metaweight.teachers.base import name_of

COST = Column("cost, plain steps", "cost", digits=1, spread=False)
"""The column that every task's table ends with; a grid measures it."""


def iteration_cost(config: RunConfig, prepared: Prepared, *, rounds: int = 8) -> float:
    """Time of one real step in plain steps: medians of interleaved rounds on twins of the run's start."""
    return _measured(config, prepared, tasks[config.task].build(config, prepared), rounds)


def choice_lines(config: RunConfig, prepared: Prepared) -> tuple[str, ...]:
    """What ``metaweight train`` says of the teacher that ``auto`` took, of trusted samples that are trained
    on, and of the engine, measured.

    Nothing of an engine where no meta-gradient is taken.
    """
    reweighter, lines = tasks[config.task].build(config, prepared), []
    if why := reweighter.teacher.choice:
        lines.append(f"teacher {config.teacher}: {name_of(reweighter.teacher)}, for {why}")
    if trains_on_meta(config):
        lines.append("the trusted samples are trained on too (--train-on-meta False: they only teach)")
    if reweighter.learns:
        lines.append(_engine(config, prepared, reweighter))
    return tuple(lines)


def _engine(config: RunConfig, prepared: Prepared, reweighter: Reweighter) -> str:
    engine = f"engine {config.engine}, {config.schedule}"
    if config.compile:
        return f"{engine}: compiled, so the first iterations take minutes"
    cost = _measured(config, prepared, reweighter, rounds=3)
    if reweighter.engine.choice:
        engine += f" ({reweighter.engine.choice})"
    return f"{engine}: an iteration takes {cost:.1f} plain steps"


def _measured(config: RunConfig, prepared: Prepared, arm: Reweighter, rounds: int) -> float:
    task = tasks[config.task]
    plain = dataclasses.replace(config, teacher="uniform", teacher_options={}, relabel=False)
    arms = [task.build(plain, prepared), arm]
    train, meta = task.sources(config, prepared)
    seconds: list[list[float]] = [[], []]
    cycle = rounds * config.every
    for step in range(-2 * config.every, cycle):
        for one, spent in zip(arms, seconds, strict=True):
            window = [train.batch(0, (step * config.unroll + k) % len(train)) for k in range(config.unroll)]
            trusted = meta.batch(0, step % len(meta))
            started = time.perf_counter()
            one.step(window, trusted)
            if step >= 0:  # the first ones warm up caches and run each engine's once-only checks
                spent.append(time.perf_counter() - started)
    unit, reweighted = (
        median(sum(spent[i : i + config.every]) for i in range(0, cycle, config.every)) for spent in seconds
    )
    return reweighted / unit
