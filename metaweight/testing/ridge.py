"""Weighted ridge regression at its optimum, where a step and the whole inner problem have closed forms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metaweight.core.contracts import Batch
from metaweight.student.student import Student
from metaweight.testing.oracles import RealSteps

DECAY = 0.3
SIZE, WIDTH = 9, 4


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """[U, 1] and [U] -> [U]."""
    return (outputs.squeeze(1) - targets).square() / 2


def ridge() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x [9, 4], y [9] to train on, a [7, 4], b [7] of the meta set, weights [9]."""
    g = torch.Generator().manual_seed(0)
    shapes = ((SIZE, WIDTH), (SIZE,), (7, WIDTH), (7,))
    x, y, a, b = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in shapes)
    return x, y, a, b, torch.rand(SIZE, generator=g, dtype=torch.float64) + 0.2


def optimum(x: Tensor, y: Tensor, w: Tensor, damping: float = 0.0) -> Tensor:
    """argmin of mean(w (x theta - y)^2 / 2) + DECAY |theta|^2 / 2."""
    left = x.T @ (w[:, None] * x) / len(x) + (DECAY + damping) * torch.eye(x.shape[1], dtype=x.dtype)
    best: Tensor = torch.linalg.solve(left, x.T @ (w * y) / len(x))
    return best


def at_optimum(rate: float = 0.7) -> tuple[RealSteps, Tensor]:
    """A linear student there, with SGD's penalty for the ridge, and the weights that it is the optimum of."""
    x, y, a, b, w = ridge()
    module = nn.Linear(WIDTH, 1, bias=False).double()
    with torch.no_grad():
        module.weight.copy_(optimum(x, y, w)[None])
    own = torch.optim.SGD(module.parameters(), lr=rate, momentum=0.5, weight_decay=DECAY)
    train, meta = Batch((x,), y, torch.arange(len(x))), Batch((a,), b, torch.arange(len(a)))
    return RealSteps(Student(module, squared), own, [train], meta, loss=squared), w


def slopes_of_a_step(x: Tensor, y: Tensor, a: Tensor, b: Tensor, w: Tensor, rate: float = 0.7) -> Tensor:
    """-(lr / n) (x_i theta - y_i) x_i grad L(theta), for SGD does not move at the optimum."""
    theta = optimum(x, y, w)
    pull = a.T @ (a @ theta - b) / len(a)
    return -rate / len(x) * (x @ theta - y) * (x @ pull)


def slopes_of_the_optimum(x: Tensor, y: Tensor, a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """dL_meta(theta*(w)) / dw, by autograd through the solution."""
    leaf = w.clone().requires_grad_()
    loss = (a @ optimum(x, y, leaf) - b).square().mean() / 2
    return torch.autograd.grad(loss, leaf)[0]
