"""From a variant to the function that takes one iteration of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

import metaweight as mw
from benchmarks.speed.peers import Gradient, Task, load, peers
from benchmarks.speed.start import Start, head_of
from benchmarks.speed.students import subject
from benchmarks.speed.variants import Setting, Variant
from metaweight.engines import registry
from metaweight.student.execution import Execution

Iterate = Callable[[Sequence[mw.Batch], mw.Batch], Gradient]
"""One iteration on K train batches and a meta batch; the teacher's gradient that it used, if any."""


class Refused(Exception):
    """A variant cannot be had here: the reason, in a line."""


def prepare(variant: Variant, start: Start, setting: Setting) -> Iterate:
    """The iteration of a variant, which moves ``start``.

    Raises Refused where a library or an option is missing here.
    """
    if variant.peer is not None:
        return _peer(variant, start, setting)
    if variant.engine is None:
        return _plain(variant, start, setting)
    try:
        if variant.schedule == "gradient":
            return _gradient(variant, start, setting)
        return _reweighter(variant, start, setting)
    except (ValueError, TypeError) as error:  # an option that this metaweight does not have
        raise Refused(f"refused: {_line(error)}") from error


def tried(variant: Variant, iterate: Iterate, train: Sequence[mw.Batch], meta: mw.Batch) -> None:
    """Take a variant's first iteration, in which engines look at the student.

    Raises Refused where they do not take it.
    """
    try:
        iterate(train, meta)
    except (mw.MetaweightError, NotImplementedError, ValueError) as error:
        raise Refused(f"refused: {_line(error)}") from error
    except Exception as error:
        if variant.peer is None:
            raise
        raise Refused(f"fails: {type(error).__name__}: {_line(error)}") from error


def student_of(variant: Variant, start: Start, setting: Setting) -> mw.Student:
    """The student with the options of a variant."""
    execution = Execution(**variant.changed("compile", "precision", "memory_format"))
    return subject(setting.model).student(start.module, execution=execution)


def _engine(variant: Variant) -> mw.engines.Engine:
    """One for all iterations: it looks at a student only once."""
    assert variant.engine is not None
    return registry[variant.engine](**variant.options)


def _reweighter(variant: Variant, start: Start, setting: Setting) -> Iterate:
    seen: list[Gradient] = [()]
    units = variant.meta_batch or setting.meta_batch
    optimizer = start.teacher_optimizer
    reweighter = mw.Reweighter(
        student_of(variant, start, setting),
        start.teacher,
        optimizer=start.optimizer,
        teacher_optimizer=optimizer,
        engine=_engine(variant),
        center=False,  # the classical gradient, which the peers have too
        **variant.changed("schedule", "every", "unroll", "scope"),  # an option of its default is not named
    )

    def keep(*_: object) -> None:
        seen[0] = tuple(p.grad for p in start.teacher.parameters())

    optimizer.register_step_pre_hook(keep)

    def iterate(train: Sequence[mw.Batch], meta: mw.Batch) -> Gradient:
        batches = train[0] if variant.unroll == 1 else list(train)
        reweighter.step(batches, head_of(meta, units))
        reweighter.live.check_every = _checks(variant)
        return seen[0]

    return iterate


def _checks(variant: Variant) -> int:
    """Batches after which an answer is checked again, behind the first: 0 for never."""
    return 1 if variant.checked else 0


def _gradient(variant: Variant, start: Start, setting: Setting) -> Iterate:
    """``hypergradient`` and the teacher's step: K inner steps that are not kept."""
    student, engine = student_of(variant, start, setting), _engine(variant)
    task = Task(student, start.teacher, start.optimizer, start.teacher_optimizer)
    scope, units = variant.changed("scope"), variant.meta_batch or setting.meta_batch
    first: list[int] = [1]

    def iterate(train: Sequence[mw.Batch], meta: mw.Batch) -> Gradient:
        gradient = mw.hypergradient(
            student,
            start.optimizer,
            list(train),
            head_of(meta, units),
            start.teacher,
            task.wrt,
            engine,
            check_every=first.pop() if first else _checks(variant),
            **scope,
        ).grads
        task.teach(gradient)
        return gradient

    return iterate


def _peer(variant: Variant, start: Start, setting: Setting) -> Iterate:
    assert variant.peer is not None
    install = peers[variant.peer].install
    try:
        build = load(variant.peer)
    except ModuleNotFoundError as error:
        raise Refused(f"not installed ({install})") from error
    except Exception as error:  # what other people's code raises at import
        raise Refused(f"does not import: {_line(error)} ({install})") from error
    task = Task(student_of(variant, start, setting), start.teacher, start.optimizer, start.teacher_optimizer)
    try:
        step = build(task)
    except Exception as error:
        raise Refused(f"fails: {type(error).__name__}: {_line(error)}") from error
    return lambda train, meta: step(train[0], head_of(meta, variant.meta_batch or setting.meta_batch))


def _plain(variant: Variant, start: Start, setting: Setting) -> Iterate:
    """The training loop that everybody writes, without metaweight: the unit of the table."""
    kind, module, optimizer = subject(setting.model), start.module, start.optimizer
    if variant.memory_format == "channels_last":
        module = module.to(memory_format=torch.channels_last)
    run = torch.compile(module, isolate_recompiles=True) if variant.compile else module
    half = variant.precision == "bf16"

    def iterate(train: Sequence[mw.Batch], _meta: mw.Batch) -> Gradient:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = kind.loss(run, train[0])
        loss.backward()
        optimizer.step()
        return ()

    return iterate


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
