"""Why steps that are taken again do not end where they ended before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metaweight.core.contracts import MetaweightError
from metaweight.influence.point import Point
from metaweight.influence.record import surroundings

if TYPE_CHECKING:
    from metaweight.influence.recording import Recording

WAY = "or go on from the states that are kept: on_difference='recorded'"


class MismatchError(MetaweightError):
    """Steps taken again are not those that were recorded: the message says which and why."""


def explained(recording: Recording, first: int, end: int, what: str) -> str:
    """In words, for the steps ``first`` to ``end - 1``, whose end differs in ``what``."""
    log = recording.log
    step = _first_other_loss(recording, first, end)
    epoch, position = recording.steps.place(first if step is None else step)
    where = (
        f"step {end} of {len(recording.steps)}"
        if step is None
        else (f"step {step + 1} of {len(recording.steps)} (epoch {epoch + 1}, batch {position + 1})")
    )
    begun = f"the run, taken again, is another one from {where} on: {what} differs. "
    if changed := recording.changed(first):
        return begun + (
            f"The batch of step {first + 1} is not the one of then: {changed} changed. Give the data that "
            "the run was recorded on"
        )
    unlike = _first_unrepeatable(recording, first, end if step is None else step + 1)
    if unlike is not None:
        return begun + unlike
    now = surroundings()
    other = [
        f"{name} was {value}, is {now.get(name)}"
        for name, value in log.surroundings.items()
        if now.get(name) != value
    ]
    if other:
        return begun + f"Since then {'; '.join(other)}. Go back to that, {WAY}"
    if step is not None and step > first:
        return begun + (
            f"A step taken twice here is the same to the last bit, and up to step {step} losses are those "
            f"of then: the batch of step {step + 1} is not the one of then, its samples, targets or inputs "
            "changed. Give the data that the run was recorded on"
        )
    same = "" if step is None else ", and so is the batch of its first step, whose loss is another"
    return begun + (
        f"A step taken twice here is the same to the last bit{same}: the student or its loss has other "
        "options than then (dropout, an activation), or something outside (an environment variable, a "
        "library) rounds otherwise than when it was recorded. Go back to that, or record it again, " + WAY
    )


def unrepeatable(recording: Recording, step: int) -> str | None:
    """What is said where a step from one and the same point gives two answers; None where it gives one."""
    student, optimizer, steps = recording.student, recording.optimizer, recording.steps
    start = Point.of(student, optimizer)
    ends: list[tuple[Tensor, Point]] = []
    for _ in range(2):
        start.put(student, optimizer)
        losses = steps.take(student, optimizer, step)
        ends.append((losses, Point.of(student, optimizer)))
    start.put(student, optimizer)
    (losses, end), (losses_2, end_2) = ends
    if not torch.equal(losses, losses_2):
        return (
            "Two passes from one and the same point give other losses: the student, its loss or the data "
            "draw random numbers outside torch's global generators, or keep state outside of buffers. Draw "
            "by torch's global generator, keep state in buffers"
        )
    what = end.differs(end_2)
    if what is None:
        return None
    return (
        f"Two steps from one and the same point end apart, in {what}, though their losses are the same: a "
        "kernel adds in an order of its own (torch.use_deterministic_algorithms(True) names it; record with "
        "that on), or a backward pass or the optimizer looks at what is no state of theirs, a clock or a "
        f"generator of its own. Leave that out, {WAY}"
    )


def _first_unrepeatable(recording: Recording, first: int, end: int) -> str | None:
    """What is said of the first step that gives two answers; None where all give one."""
    recording.store.get(first).put(recording.student, recording.optimizer)
    for step in range(first, end):
        if (said := unrepeatable(recording, step)) is not None:
            return said
        recording.steps.take(recording.student, recording.optimizer, step)
    return None


def _first_other_loss(recording: Recording, first: int, end: int) -> int | None:
    """The first step whose losses are not those of then."""
    recording.store.get(first).put(recording.student, recording.optimizer)
    for step in range(first, end):
        losses = recording.steps.take(recording.student, recording.optimizer, step)
        if float(losses.mean()) != recording.log.losses[step]:
            return step
    return None
