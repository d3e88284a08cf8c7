"""What an iteration costs beside plain training."""

from __future__ import annotations

import dataclasses
import time
from statistics import median

from torch import nn

from metaweight.core.submodules import DROPOUT
from metaweight.reweighter import Reweighter
from metaweight.tasks.assembly import trains_on_meta
from metaweight.tasks.base import Prepared, Sources, tasks
from metaweight.tasks.config import RunConfig
from metaweight.tasks.figures import Column
from metaweight.teachers.base import name_of

COST = Column("cost, plain steps", "cost", digits=1, spread=False)
"""The column that every task's table ends with; a grid measures it."""
SHORT = 60
"""Iterations of a run that is over before its cost would be known: it is measured in fewer, or not at all."""


def iteration_cost(config: RunConfig, prepared: Prepared) -> float:
    """Time of one real step in plain steps: medians of interleaved rounds on twins of the run's start."""
    sources = tasks[config.task].sources(config, prepared)
    rounds = 3 if _is_short(config, sources) else 8
    return _measured(config, prepared, sources, tasks[config.task].build(config, prepared), rounds)


def choice_lines(config: RunConfig, prepared: Prepared) -> tuple[str, ...]:
    """What ``metaweight train`` says of the teacher that ``auto`` took, of trusted samples that are trained
    on, of masks that several processes draw, and of the engine, whose cost is measured where the run is not
    short.

    Nothing of an engine where no meta-gradient is taken.
    """
    reweighter, lines = tasks[config.task].build(config, prepared), []
    if why := reweighter.teacher.choice:
        lines.append(f"teacher {config.teacher}: {name_of(reweighter.teacher)}, for {why}")
    if trains_on_meta(config):
        lines.append("the trusted samples are trained on too (--train-on-meta False: they only teach)")
    processes = reweighter.student.processes.size
    if processes > 1 and any(map(_masks, reweighter.student.module.modules())):
        lines.append(
            f"each of the {processes} processes draws dropout masks of its own, so the numbers are not those "
            "of one process (--model-options dropout=0: they are, up to rounding)"
        )
    if reweighter.learns:
        lines.append(_engine(config, prepared, reweighter))
    return tuple(lines)


def _masks(part: nn.Module) -> bool:
    """Whether it has dropout: a layer of it, or attention and recurrent layers with some of their own."""
    shares = [share for name, share in vars(part).items() if name.endswith("dropout")]
    shares += [part.p] if isinstance(part, DROPOUT) else []
    return any(isinstance(share, float) and share > 0 for share in shares)


def _engine(config: RunConfig, prepared: Prepared, reweighter: Reweighter) -> str:
    engine = f"engine {config.engine}, {config.schedule}"
    if config.compile:
        return f"{engine}: compiled, so the first iterations take minutes"
    sources = tasks[config.task].sources(config, prepared)
    if _is_short(config, sources):
        _step(config, sources, reweighter, 0)  # with it `auto` chooses
        cost = ""
    else:
        taken = _measured(config, prepared, sources, reweighter, rounds=3)
        cost = f": an iteration takes {taken:.1f} plain steps"
    chosen = f" ({reweighter.engine.choice})" if reweighter.engine.choice else ""
    return f"{engine}{chosen}{cost}"


def _is_short(config: RunConfig, sources: Sources) -> bool:
    return config.epochs * len(sources.train) < SHORT


def _measured(config: RunConfig, prepared: Prepared, sources: Sources, arm: Reweighter, rounds: int) -> float:
    plain = dataclasses.replace(config, teacher="uniform", teacher_options={}, relabel=False)
    arms = [tasks[config.task].build(plain, prepared), arm]
    seconds: list[list[float]] = [[], []]
    cycle = rounds * config.every
    for number in range(-2 * config.every, cycle):
        for one, spent in zip(arms, seconds, strict=True):
            taken = _step(config, sources, one, number)
            if number >= 0:  # the first ones warm up caches and run each engine's once-only checks
                spent.append(taken)
    unit, reweighted = (
        median(sum(spent[i : i + config.every]) for i in range(0, cycle, config.every)) for spent in seconds
    )
    return reweighted / unit


def _step(config: RunConfig, sources: Sources, arm: Reweighter, number: int) -> float:
    """Take one, on batches of the first epoch; its seconds, those of making batches left out."""
    train, meta = sources
    window = [train.batch(0, (number * config.unroll + k) % len(train)) for k in range(config.unroll)]
    trusted = meta.batch(0, number % len(meta))
    started = time.perf_counter()
    arm.step(window, trusted)
    return time.perf_counter() - started
