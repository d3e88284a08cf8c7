"""One teacher trained over students that start anew, one after the other, as DataRater over a population."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

import metaweight as mw
from metaweight.core.randomness import forked_rng
from metaweight.reweighter import Reweighter
from metaweight.tasks import assemble
from metaweight.tasks.assembly import seed_of
from metaweight.tasks.config.module import ModuleConfig
from metaweight.tasks.rating import Rater, rater_of
from metaweight.tasks.rows.rating import RowsReader
from metaweight.teachers.rating import lasting_state


def population(plain: mw.Fit, teacher: str, students: int, seed: int) -> Rater:
    """What a teacher leaves that went through ``students`` runs, with the student of the last.

    ``plain``: a run on the same rows.  Each run is one of as many epochs, its warm-up included; its student
    and the order of its rows are drawn anew, and of what the teacher remembers of training rows nothing is
    left.  The teacher and its optimizer go on from run to run.  With one student it is the run of
    ``metaweight.fit``.  A module that was given as an object is trained again from new parameters, so that
    ``plain.model`` is another one afterwards.
    """
    assert plain.rater is not None
    reader = plain.rater.reader
    assert isinstance(reader, RowsReader)
    config, last = reader.asked, None
    for number in range(students):
        own = seed if number == 0 else seed_of(seed, f"student {number}")
        config = replace(config, teacher=teacher, seed=own)
        with forked_rng(torch.device(config.device)):
            if isinstance(config, ModuleConfig):
                renew(plain.model, own)
            fresh = reader.task.build(config, plain.prepared)
            if last is not None:
                hand_on(last, fresh)
            assemble(config, plain.prepared, reweighter=fresh).trainer.fit()
        last = fresh
    if last is None:
        raise ValueError(f"a population has a student or more, got {students}")
    rater = rater_of(last, reader.task.reader_at_hand(config, plain.prepared))
    assert rater is not None
    return rater


def hand_on(last: Reweighter, fresh: Reweighter) -> None:
    """Let the teacher of ``fresh`` go on where that of ``last`` is, but for what it remembers of rows."""
    fresh.teacher.load_state_dict(lasting_state(last.teacher), strict=False)
    if fresh.teacher_optimizer is not None:
        assert last.teacher_optimizer is not None
        # what is loaded would be shared with the optimizer of before
        fresh.teacher_optimizer.load_state_dict(copy.deepcopy(last.teacher_optimizer.state_dict()))


def renew(module: torch.nn.Module, seed: int) -> None:
    """Initialise a module as its layers initialise themselves."""
    torch.manual_seed(seed)
    for part in module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
