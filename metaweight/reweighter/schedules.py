"""The iterations: ``lookahead``, ``online`` and ``window`` with a teacher that learns, ``plain`` without."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, StudentState
from metaweight.engines.base import attention_for
from metaweight.engines.checks import require_finite
from metaweight.engines.window import Rates
from metaweight.reweighter.live import Live, set_rates
from metaweight.reweighter.teaching import weights_of
from metaweight.reweighter.window import Taken


def lookahead(live: Live, train: Batch, meta: Batch) -> Taken:
    """A virtual step first: the teacher learns where it leads, then weighs again for the real step."""
    engine = live.settled(train, meta)
    with live.train_pass(train, engine, backward=not engine.abilities.weighs_again) as recorded:
        state = recorded.forward.state(live.progress)
        weigh, wrt = live.teaching.question(state.loss)
        result = live.solve([train], meta, weigh, wrt, engine, recorded=recorded)
        live.teaching.learn(result)
        weights = live.teaching.weights(state, result)
        gradient = result.gradient_at(weights) if result.gradient_at is not None else None
        live.real_step(recorded.forward, weights, gradient)
    return Taken.of([live.taken(state, weights)], result)


def online(live: Live, train: Batch, meta: Batch) -> Taken:
    """The virtual step is the real one; the teacher learns where it led, for the steps to come."""
    engine = live.settled(train, meta)
    with live.train_pass(train, engine, backward=False) as recorded:
        state = recorded.forward.state(live.progress)
        weigh, wrt = live.teaching.question(state.loss)
        result = live.solve([train], meta, weigh, wrt, engine, recorded=recorded)
        weights = result.weights[0]
        live.real_step(recorded.forward, weights, result.gradient)
    live.teaching.learn(result)
    return Taken.of([live.taken(state, weights)], result)


def window(live: Live, batches: Sequence[Batch], meta: Batch, rates: Rates | None) -> Taken:
    """``lookahead`` over K virtual steps; K real steps with the new weights follow."""
    result = live.solve(batches, meta, live.teacher, live.learned, live.engine, rates=rates)
    live.teaching.learn(result)
    # the masks of fused attention would be others than the virtual steps'
    with attention_for(live.engine):
        return Taken.of(plain(live, batches, rates).steps, result)


def online_window(live: Live, batches: Sequence[Batch], meta: Batch, rates: Rates | None) -> Taken:
    """``online`` over K steps: the student goes on from where they led."""
    states: list[StudentState] = []

    def weigh(state: StudentState) -> Tensor:
        states.append(state)
        weights: Tensor = live.teacher(state)
        return weights

    result = live.solve(batches, meta, weigh, live.learned, live.engine, rates=rates)
    assert result.end is not None  # the engine's abilities were checked when the Reweighter was built
    result.end.take_over(live.student, live.optimizer)
    live.student.module.zero_grad(set_to_none=True)
    set_rates(live.optimizer, rates, -1)
    live.teaching.learn(result)
    return Taken.of([live.taken(*step) for step in zip(states, result.weights, strict=True)], result)


def plain(
    live: Live,
    batches: Sequence[Batch],
    rates: Rates | None,
    meta: Batch | None = None,
    teach: bool = True,
) -> Taken:
    """A real step on each batch, no gradient for the teacher; one that only looks sees ``meta`` first."""
    progress, meta_loss, steps = live.progress, None, []
    for number, batch in enumerate(batches):
        set_rates(live.optimizer, rates, number)
        with live.statistics_kept():
            forward = live.student(batch)
            require_finite("train loss", forward.loss, forward.index)
            state = forward.state(progress)
            weights = weights_of(live.teacher, state) if teach else torch.ones_like(state.loss)
            if meta is not None and number == 0:
                meta_loss = live.show(meta)
            live.real_step(forward, weights)
        steps.append(live.taken(state, weights))
    return Taken(steps, meta_loss)


Single = Callable[[Live, Batch, Batch], Taken]
Several = Callable[[Live, Sequence[Batch], Batch, "Rates | None"], Taken]
SCHEDULES: Mapping[str, tuple[Single, Several]] = {
    "lookahead": (lookahead, window),
    "online": (online, online_window),
}
"""Name -> the iteration of one step and that of several."""
