"""What every teacher must hold, of students of classes and of sentence pairs."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from metaweight.teachers.base import Teacher, registry
from metaweight.testing.rules import changed, clones, refused, require, require_all
from metaweight.testing.states import (
    TAPS,
    class_spec,
    class_state,
    padded,
    reordered,
    sentence_spec,
    sentence_state,
    tensors,
)
from metaweight.testing.target_states import LOSSES
from metaweight.testing.teacher_sight import Change, require_sight
from metaweight.testing.teacher_subject import DOUBLE, Subject, require_weights, trainable
from metaweight.testing.teacher_suggestions import require_suggestions


def check_teacher(
    teacher: str | type[Teacher], *, sentences: bool = True, device: torch.device | str = "cpu"
) -> None:
    """Raise ContractError where a teacher, by name or class, breaks a rule of the contract.

    ``sentences``: False for one that is meant for units of one class alone, and then need not refuse sentence
    pairs, soft labels, several answers and numbers either.
    """
    kind = registry[teacher] if isinstance(teacher, str) else teacher
    who = f"teacher {teacher!r}" if isinstance(teacher, str) else f"teacher {kind.__name__}"
    subject = Subject(kind, sentences=False, device=str(device))
    require_all(who, subject, (options_have_defaults, *UNITS, taps_are_asked_for, samples_are_asked_for))
    if not sentences:
        return
    require_all(who, subject, (sentences_are_taken_or_refused,))
    pairs = replace(subject, sentences=True)
    with refused(ValueError, "sentences", "") as refusal:
        pairs.fresh()
    if not refusal:
        require_all(f"{who}, of sentences", pairs, (*UNITS, padding_does_not_matter))
    for target in LOSSES:
        other = replace(subject, target=target)
        require_all(who, other, (other_targets_are_taken_or_refused,))
        with refused(ValueError, target, "") as refusal:
            other.fresh()
        if not refusal:
            require_all(f"{who}, of targets {target!r}", other, UNITS)


def options_have_defaults(subject: Subject) -> None:
    """A teacher is a subclass of Teacher that is built from a StateSpec, with a default for every option."""
    require(issubclass(subject.kind, Teacher), "it is none; write class Mine(metaweight.Teacher)")
    options = list(inspect.signature(subject.kind).parameters.values())[1:]
    bare = [p.name for p in options if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    require(not bare, f"got none for {', '.join(bare)}; give each a default")


def taps_are_asked_for(subject: Subject) -> None:
    """A student without taps is weighed, or refused with a ValueError that asks for taps."""
    advice = "raise ValueError(\"... name a tap: Student(module, taps=('layer3',))\") in __init__"
    with refused(ValueError, "it", advice) as answer:
        require_weights(subject.built(class_spec({})), class_state(taps={}))
    require(not answer or "taps=" in answer[0], f"it refuses with {answer}; {advice}")


def samples_are_asked_for(subject: Subject) -> None:
    """Who keeps something of every sample says needs_samples, and refuses a spec that lacks their number."""
    needs = subject.kind.needs_samples
    advice = f"it says needs_samples = {needs}; say {not needs}, or raise ValueError in __init__"
    with refused(ValueError, "a spec without samples", advice) as answer:
        subject.built(class_spec(samples=None))
    require(bool(answer) == needs, f"it {'refuses' if answer else 'takes'} it; {advice}")


def sentences_are_taken_or_refused(subject: Subject) -> None:
    """A sentence as a unit is weighed, or refused with a ValueError, when it is built and when it comes."""
    advice = "raise ValueError where spec.sentences, and for a state whose `real` is not None"
    with refused(ValueError, "a spec of sentences", advice):
        require_weights(subject.built(sentence_spec()), sentence_state())
    with refused(ValueError, "sentences in the place of classes", advice):
        require_weights(subject.built(class_spec(TAPS, classes=9)), sentence_state(taps=TAPS))


def other_targets_are_taken_or_refused(subject: Subject) -> None:
    """Soft labels, several answers and numbers are weighed, or refused with a ValueError when it is built."""
    advice = "raise ValueError in __init__ unless spec.target is one that it reads"
    with refused(ValueError, f"targets {subject.target!r}", advice) as refusal:
        subject.fresh()
    if not refusal:
        require_weights(subject.fresh(), subject.state())


def weights_are_one_a_unit(subject: Subject) -> None:
    """Weights are one a unit, finite, not negative, in the losses' dtype and on their device."""
    for dtype in (torch.float32, DOUBLE):
        require_weights(subject.experienced(dtype), subject.state(7, dtype=dtype))


def a_batch_has_any_size(subject: Subject) -> None:
    """A batch of one is weighed and remembered, and so is one of 600."""
    teacher = subject.experienced()
    for units in (1, 2, 600):
        state = subject.state(units)
        require_weights(teacher, state)
        teacher.track(state)
        teacher.observe(state)


def extreme_states_are_weighed(subject: Subject) -> None:
    """Losses of 0 and 1e4, certain and absurd outputs give finite weights and gradients."""
    for dtype in (torch.float32, DOUBLE):
        for teacher in (subject.experienced(dtype), subject.fresh(dtype)):
            for state in subject.extremes(subject.state(6, dtype=dtype)):
                weights, learned = require_weights(teacher, state), trainable(teacher)
                if weights.requires_grad:
                    scalar = (weights * torch.arange(6).to(weights)).sum()
                    grads = torch.autograd.grad(scalar, list(learned.values()), allow_unused=True)
                    finite = all(bool(g.isfinite().all()) for g in grads if g is not None)
                    require(finite, "got a gradient of NaN; put a floor under a root or a logarithm")
                teacher.track(state)
                teacher.observe(state)


def weighing_changes_nothing(subject: Subject) -> None:
    """Weighing twice gives the same, and leaves teacher, state and the global random state as they were."""
    teacher, state = subject.experienced(), subject.state()
    own, given = clones(teacher.state_dict()), clones(tensors(state))
    random = torch.get_rng_state()
    same = torch.equal(teacher(state), teacher(state))
    moved = changed(own, teacher.state_dict()) + changed(given, tensors(state))
    require(not moved, f"it changes {', '.join(moved)}; do so in track or observe")
    teacher.track(state)
    teacher.observe(state)
    drawn = not torch.equal(random, torch.get_rng_state())
    require(not drawn, "it draws from the global generator; keep a torch.Generator's state in a buffer")
    require(same, "got other weights; what is drawn anew belongs in track")
    moved = changed(given, tensors(state))
    require(not moved, f"track or observe change the state's {', '.join(moved)}; work on copies")


def the_order_of_a_batch_does_not_matter(subject: Subject) -> None:
    """Units in another order have the same weights, in that order, unless the teacher sees nothing."""
    if subject.weighing.sees == "nothing":
        return
    teacher, state = subject.experienced(DOUBLE), subject.state(20, dtype=DOUBLE)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    off = float((teacher(reordered(state, order)) - teacher(state)[order]).detach().abs().max())
    require(off <= 1e-12, f"got weights off by {off:.2g}; weigh a unit by what it is, not where it stands")


def a_loaded_teacher_goes_on_alike(subject: Subject) -> None:
    """A teacher with a loaded state_dict gives the same weights and goes on as the one that was saved."""
    teacher, loaded = subject.experienced(), subject.fresh(seed=4)
    loaded.load_state_dict(copy.deepcopy(teacher.state_dict()))
    for seed in (7, 8):
        state, meta = subject.state(seed=seed), subject.state(seed=seed + 2)
        same = torch.equal(teacher(state), loaded(state))
        require(same, "got other weights; what changes must be a parameter or a buffer")
        for one in (teacher, loaded):
            one.track(state)
            one.observe(meta)
    apart = changed(teacher.state_dict(), loaded.state_dict())
    require(not apart, f"{', '.join(apart)} went another way; what changes must be a parameter or a buffer")


def gradients_reach_every_parameter(subject: Subject) -> None:
    """Every trainable parameter has an influence on the weights; ``learns`` says whether there is one."""
    teacher, state = subject.experienced(), subject.state(40, seed=5)
    learned, gradient = trainable(teacher), subject.weighing.sees == "gradient"
    if not learned or gradient:
        require(subject.weighing.learns == gradient, "it has no parameter to train; set learns = False")
        require(not (learned and gradient), f"it sees the gradient, and nobody trains its {list(learned)}")
        return
    require(subject.weighing.learns, f"it has {', '.join(learned)} to train; leave out learns = False")
    weights = teacher(state)
    require(weights.requires_grad, "its weights carry no gradient; something detaches them")
    teacher.track(subject.state(seed=1))  # must leave the graph valid
    teacher.observe(subject.state(seed=2))
    scalar = (weights * torch.linspace(-1, 1, 40).sin().to(weights)).sum()
    grads = torch.autograd.grad(scalar, list(learned.values()), allow_unused=True)
    still = [n for n, g in zip(learned, grads, strict=True) if g is None or not bool((g != 0).any())]
    require(not still, f"{', '.join(still)} never moves; use it, or requires_grad_(False)")


def sight_is_what_it_says(subject: Subject) -> None:
    """The weights depend on what ``sees`` says, and on nothing beyond."""
    require_sight(subject.weighing.sees, subject.state(60, seed=5, dtype=DOUBLE), subject.experienced)


def suggestions_are_classes(subject: Subject) -> None:
    """Who suggests labels gives each unit another class than the given one, and a share in 0..1."""
    teacher, state = subject.experienced(), subject.state(7)
    if teacher.silence:
        return
    single = subject.target == "class" and not subject.sentences
    require(single, "it suggests labels where a unit has no class of its own; set silence in __init__ then")
    require_suggestions(teacher, state)


def a_gradient_gives_weights(subject: Subject) -> None:
    """A teacher that sees the gradient turns any hypergradient [U], zeros too, into weights."""
    if subject.weighing.sees != "gradient":
        return
    teacher, state = subject.fresh(DOUBLE), subject.state(dtype=DOUBLE)
    for slopes in (state.loss - state.loss.mean(), torch.zeros_like(state.loss), state.loss):
        weights = teacher.from_hypergradient(slopes)
        valid = weights.shape == slopes.shape and bool((weights >= 0).all() and weights.isfinite().all())
        require(valid, f"got {weights}; give one weight >= 0 a unit")


def padding_does_not_matter(subject: Subject) -> None:
    """What stands in a sentence's padding has no influence on weights, gradients or memory."""
    plain = _end(subject, lambda state: state)
    for before, after, logit, target in PADDING:
        change = partial(padded, before=before, after=after, logit=logit, target=target)
        other = _end(subject, change)
        for ours, theirs in zip(plain, other, strict=True):
            close = torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)
            require(close, f"logits of {logit} and targets of {target} change them; mask by state.real")


PADDING = ((0, 3, 1e3, 5), (0, 1, math.nan, 0), (0, 0, math.inf, -100), (2, 1, -1e3, 0))
"""Columns before and after the sentences, and the logit and target in what is padding."""


def _end(subject: Subject, change: Change) -> list[Tensor]:
    """Weights, gradients and memory of a teacher that saw every state as ``change`` makes it."""
    teacher = subject.experienced(DOUBLE, change)
    weights, learned = teacher(change(subject.state(20, 8, DOUBLE))), list(trainable(teacher).values())
    scalar = (weights * torch.linspace(-1, 1, 20).sin().to(weights)).sum()
    grads = torch.autograd.grad(scalar, learned) if weights.requires_grad else ()
    return [weights, *grads, *teacher.buffers()]


UNITS: tuple[Callable[[Subject], None], ...] = (
    weights_are_one_a_unit,
    a_batch_has_any_size,
    extreme_states_are_weighed,
    weighing_changes_nothing,
    the_order_of_a_batch_does_not_matter,
    a_loaded_teacher_goes_on_alike,
    gradients_reach_every_parameter,
    sight_is_what_it_says,
    suggestions_are_classes,
    a_gradient_gives_weights,
)
"""The rules for units of one kind."""
