"""The iterations: ``lookahead``, ``online`` and their windows with a teacher that learns, ``plain`` without.

``step`` takes the student's step too; ``weigh`` leaves it to the user's own loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, StudentState
from metaweight.core.parts import Part
from metaweight.core.reads import together
from metaweight.engines.base import Engine, Recorded, attention_for
from metaweight.engines.checks import require_finite_losses
from metaweight.engines.gradient import HyperGradient
from metaweight.engines.window import Rates
from metaweight.reweighter.live import Gathering, Live, set_rates
from metaweight.reweighter.relabelling import NOTHING, Moved
from metaweight.reweighter.teaching import weights_of
from metaweight.reweighter.window import Taken


@dataclass(frozen=True)
class Weighed:
    """A batch's weights once the teacher has learnt, for a step that is still to be taken."""

    state: StudentState
    weights: Tensor
    """[U], detached."""
    result: HyperGradient
    gradient: Mapping[str, Tensor] | None
    """Of mean(weights * loss) by parameter name; None where it takes a backward."""


def lookahead(live: Live, train: Recorded, meta: Batch, engine: Engine, gathering: Gathering) -> Weighed:
    """A virtual step first: the teacher learns where it leads, then weighs again for the real step."""
    state = train.forward.joined(live.progress)
    weigh, wrt = live.teaching.question(state.loss)
    result = live.solve([train.forward.batch], meta, weigh, wrt, engine, recorded=train, gathering=gathering)
    live.teaching.learn(result)
    weights = live.teaching.weights(state, result)
    return Weighed(state, weights, result, result.gradient_at and result.gradient_at(weights))


def online(live: Live, train: Recorded, meta: Batch, engine: Engine, gathering: Gathering) -> Weighed:
    """The virtual step is the real one; the teacher learns where it leads, for the steps to come."""
    state = train.forward.joined(live.progress)
    weigh, wrt = live.teaching.question(state.loss)
    result = live.solve([train.forward.batch], meta, weigh, wrt, engine, recorded=train, gathering=gathering)
    live.teaching.learn(result)
    return Weighed(state, result.weights[0], result, result.gradient)


def step(live: Live, schedule: Schedule, train: Batch, meta: Batch) -> Taken:
    """Weights, and the real step with them, which shares the train pass."""

    def attempt(engine: Engine) -> tuple[Weighed, Moved]:
        backward = schedule.again and not engine.abilities.weighs_again
        with live.train_pass(train, engine, backward=backward) as recorded:
            with attention_for(engine):
                moved = live.moved(recorded.forward, recorded.buffers, recorded.random)
            weighed = schedule.weigh(live, recorded, meta, engine, Gathering(moved=moved))
            live.real_step(recorded.forward, weighed.weights, weighed.gradient, moved)
        return weighed, moved

    weighed, moved = live.by_any_engine(train, meta, attempt, again=schedule.again)
    return Taken.of([live.taken(weighed.state, weighed.weights)], weighed.result, moved=moved)


def weigh(live: Live, schedule: Schedule, train: Batch, meta: Batch, gathering: Gathering) -> Taken:
    """Weights alone: the step is somebody else's, and nothing of the student is moved."""

    def attempt(engine: Engine) -> tuple[Weighed, Part]:
        with live.virtual_pass(train, engine) as recorded:
            return schedule.weigh(live, recorded, meta, engine, gathering), recorded.forward.part

    weighed, part = live.by_any_engine(train, meta, attempt)
    return Taken.of([live.taken(weighed.state, weighed.weights)], weighed.result, part)


def glance(live: Live, train: Batch, meta: Batch | None, *, teach: bool) -> Taken:
    """Weights of a teacher that does not learn now, for a step that is somebody else's."""
    with together():
        forward = live.student.glance(train, plain=False)
        require_finite_losses("train loss", forward)
        state = forward.joined(live.progress)
        weights = weights_of(live.teacher, state) if teach else torch.ones_like(state.loss)
        meta_loss = None if meta is None else live.show(meta)
    return Taken([live.taken(state, weights)], meta_loss, part=forward.part)


def window(live: Live, batches: Sequence[Batch], meta: Batch, rates: Rates | None) -> Taken:
    """``lookahead`` over K virtual steps; K real steps with the new weights follow."""
    result = live.solve(batches, meta, live.teacher, live.learned, live.engine, rates=rates)
    live.teaching.learn(result)
    # the masks of fused attention would be others than the virtual steps'
    with attention_for(live.engine):
        return Taken.of(plain(live, batches, rates).steps, result)


def online_window(live: Live, batches: Sequence[Batch], meta: Batch, rates: Rates | None) -> Taken:
    """``online`` over K steps: the student goes on from where they led."""
    result = live.solve(batches, meta, live.teacher, live.learned, live.engine, rates=rates)
    assert result.end is not None  # the engine's abilities were checked when the Reweighter was built
    result.end.take_over(live.student, live.optimizer)
    live.spent.drop(live.student.parameters())
    set_rates(live.optimizer, rates, -1)
    live.teaching.learn(result)
    return Taken.of([live.taken(*step) for step in zip(result.states, result.weights, strict=True)], result)


def plain(
    live: Live,
    batches: Sequence[Batch],
    rates: Rates | None,
    meta: Batch | None = None,
    teach: bool = True,
) -> Taken:
    """A real step on each batch, no gradient for the teacher; one that only looks sees ``meta`` first."""
    progress, meta_loss, steps, moved = live.progress, None, [], NOTHING
    for number, batch in enumerate(batches):
        set_rates(live.optimizer, rates, number)
        with live.statistics_kept() as before, together():
            forward = live.student(batch)
            require_finite_losses("train loss", forward)
            state = forward.joined(progress)
            weights = weights_of(live.teacher, state) if teach else torch.ones_like(state.loss)
            moved = live.moved(forward, *before) if teach else NOTHING
            if meta is not None and number == 0:
                meta_loss = live.show(meta)
            live.real_step(forward, weights, moved=moved)
        steps.append(live.taken(state, weights))
    return Taken(steps, meta_loss, moved=moved)


class Schedule(NamedTuple):
    """When the teacher learns: before the step that it weighs, or from it."""

    weigh: Callable[[Live, Recorded, Batch, Engine, Gathering], Weighed]
    """Of one step."""
    several: Callable[[Live, Sequence[Batch], Batch, Rates | None], Taken]
    """A window of steps."""
    again: bool
    """Whether the real step weighs the train pass anew."""


SCHEDULES: Mapping[str, Schedule] = {
    "lookahead": Schedule(lookahead, window, again=True),
    "online": Schedule(online, online_window, again=False),
}
