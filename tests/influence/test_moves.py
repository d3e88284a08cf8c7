"""How weights move by their slopes: Adam against torch's, and moves that are taken back."""

from __future__ import annotations

import torch

from metaweight.influence.moves import AdamMove

DOUBLE = torch.float64


def test_adam_is_that_of_torch() -> None:
    g = torch.Generator().manual_seed(0)
    weights = torch.zeros(7, dtype=DOUBLE, requires_grad=True)
    theirs = torch.optim.Adam([weights], lr=1.0, betas=AdamMove.BETAS, eps=0.0)
    ours, at = AdamMove(), torch.zeros(7, dtype=DOUBLE)
    for _ in range(4):
        weights.grad = torch.randn(7, dtype=DOUBLE, generator=g)
        at = at + ours.direction(weights.grad)
        theirs.step()
        torch.testing.assert_close(at, weights.detach(), rtol=1e-12, atol=1e-14)
        taken_up = AdamMove()
        taken_up.load_state_dict(ours.state_dict())
        ours = taken_up
    assert ours.direction(torch.zeros(7, dtype=DOUBLE)).isfinite().all()
    assert torch.equal(AdamMove().direction(torch.zeros(3)), torch.zeros(3))


def test_a_move_that_was_taken_back_leaves_no_trace() -> None:
    first, second = torch.tensor([1.0, -3.0], dtype=DOUBLE), torch.tensor([-2.0, 0.5], dtype=DOUBLE)
    move = AdamMove()
    before = move.state_dict()
    move.direction(first)
    move.load_state_dict(before)
    assert torch.equal(move.direction(second), AdamMove().direction(second))
