"""What a whole run asks of its parts, and what is said where they lack it."""

from __future__ import annotations

import warnings

import torch
from torch.optim import Optimizer

from metaweight.core.contracts import MetaweightError
from metaweight.core.randomness import forked_rng
from metaweight.engines.checks import (
    refuse_changed_gradients,
    refuse_compiled,
    refuse_gradient_hooks,
    refuse_moved_parameters,
)
from metaweight.engines.inner import InnerStep
from metaweight.influence.back import InfluenceWarning
from metaweight.influence.norms import norms_of, places_of
from metaweight.influence.recording import Recording
from metaweight.influence.steps import Steps
from metaweight.student.student import Student

SHORT = 2**-6
"""How far states that were rounded to 8 bits may be apart, of a parameter's size, before it is said."""


def require_mode(mode: str) -> None:
    """Raise ValueError for another one than "eval" and "train"."""
    if mode not in ("eval", "train"):
        raise ValueError(f"mode is 'eval' or 'train', got {mode!r}")


def require_repeatable(student: Student, optimizer: Optimizer, steps: Steps) -> None:
    """Raise MetaweightError where a step could not be taken again from where it began, or not
    differentiated twice, as far as that can be seen ahead; ValueError or TypeError for an optimizer without
    a pure update."""
    refuse_compiled(student)
    refuse_gradient_hooks(student)
    refuse_changed_gradients(student)
    if student.processes.size > 1 or student.sharded is not None:
        raise MetaweightError("a whole run is recorded in one process: start it without torchrun")
    InnerStep.of(optimizer, student.parameters(), steps.max_norm)
    with forked_rng(student.device):  # batches may draw
        student.learn_what_moves(steps.batch(0))
    refuse_moved_parameters(student)
    if student.moving.places:
        place = next(iter(student.moving.places))
        raise MetaweightError(
            f"a pass of the student changes {place.where}, which is neither a parameter nor a buffer, so a "
            "step cannot be taken again from where it began: register it as a buffer"
        )


def refuse_other_buffers(student: Student, recording: Recording) -> None:
    """Raise MetaweightError where passes move what the loss may read and no derivative passes through."""
    known = places_of(norms_of(student.module))
    start, end = recording.store.get(0).buffers, recording.end().buffers
    for name, value in end.items():
        if name in known or not value.is_floating_point() or torch.equal(value, start[name]):
            continue
        raise MetaweightError(
            f"passes move {name!r}, and what it has become depends on the weights in a way that is not known "
            "here (only running statistics of BatchNorm are): leave that layer out, or freeze it"
        )


def refuse_visits(steps: Steps, what: str) -> None:
    """Raise MetaweightError where a run's weights change from step to step: it ``what`` weights by sample."""
    if steps.visits is not None:
        raise MetaweightError(
            f"this {what} weights by sample, and the run's teacher gave each visit one of its own: take a "
            "run with teacher 'uniform', or a WholeRun of your own"
        )


def tell_how_far_off(recording: Recording) -> None:
    """Warn where steps taken again have ended elsewhere than in the states that are kept."""
    rounds = recording.keeping.rounds
    far = {end: off for end, off in recording.off.items() if off[0] > (SHORT if rounds else 0)}
    if far:
        end = max(far, key=lambda place: far[place])
        most, name = far[end]
        why = (
            "Its steps magnify what bf16 leaves out: keep exact states, or more of them (checkpoints)"
            if rounds
            else "Each began where the run was"
        )
        warnings.warn(
            f"{len(far)} of {len(recording.off)} parts of the run, taken again, ended elsewhere than "
            f"recorded: by {most:.1e} of a parameter's size at most, {name!r} after step {end}. {why}; "
            "influences may be off by as much",
            InfluenceWarning,
            stacklevel=3,
        )
