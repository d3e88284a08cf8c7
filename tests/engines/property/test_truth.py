"""The right answer itself: its copies, and what it knows of its own rounding."""

from __future__ import annotations

import pytest
import torch
from engines.property.cases import PARTS, Case, quiet
from engines.property.fronts import FRONTS
from engines.property.truth import right_for
from engines.property.verdicts import ROUNDED

import metaweight as mw


def test_copies_draw_nothing() -> None:
    """A copy that draws would have other masks in its first pass than the student that it stands for."""
    cases = [Case(front=front, warm=False) for front in FRONTS]
    cases += [Case(parts=(part,), warm=False) for part in PARTS]
    for case in cases:
        live, before = case.live(), torch.get_rng_state()
        live.twin()
        assert torch.equal(before, torch.get_rng_state()), case


@pytest.mark.parametrize("part", ["dropout", "mixing"])
def test_the_right_answer_is_that_of_a_student_that_was_never_copied(part: str) -> None:
    case = Case(parts=("GRU with weight norm", part), max_norm=0.05, seed=1)
    live = case.live()
    right = right_for(case, case.live())
    with quiet(case.seed):
        live.step(case.train[0], case.weights, case.max_norm)
    for name, p in live.module.named_parameters():
        assert torch.equal(p, right.parameters[name]), name


@pytest.fixture(scope="module")
def shifted() -> Case:
    """A shift in front of a softmax, without influence, and an optimizer that makes steps of rounding."""
    return Case(front="packed rows", optimizer="adafactor", warm=False, steps=3, max_norm=0.05, seed=59)


def test_what_rounding_alone_moves_is_known(shifted: Case) -> None:
    right = right_for(shifted, shifted.live())
    assert float(right.rounded["front.gate.bias"]) > 1e-6
    assert all(r.max() < 1e-11 for name, r in right.rounded.items() if name != "front.gate.bias")


def test_rows_in_another_order_come_as_near_as_rounding_allows(shifted: Case) -> None:
    right, live = right_for(shifted, shifted.live()), shifted.live()
    order = torch.tensor([3, 1, 0, 2])
    for batch, weights in zip(shifted.train, shifted.weights.split(len(order)), strict=True):
        rows = mw.Batch(tuple(x[order] for x in batch.inputs), batch.targets[order], batch.index[order])
        live.step(rows, weights[order], shifted.max_norm)
    off = {n: (p - right.parameters[n]).detach().abs() for n, p in live.module.named_parameters()}
    assert float(off["front.gate.bias"]) > 1e-6
    assert all(bool((off[n] <= ROUNDED * right.rounded[n] + 1e-12).all()) for n in off)


def test_words_that_the_batch_lacks_have_no_rounding() -> None:
    case = Case(front="embedding", optimizer="adafactor", warm=False)
    (batch,) = case.train
    lacking = [word for word in range(8) if word not in batch.inputs[1]]
    assert lacking
    right = right_for(case, case.live())
    assert not right.rounded["front.embedding.weight"][lacking].any()
