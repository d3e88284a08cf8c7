"""The losses and the optimizers of random students."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from engines.property.parts import CLASSES
from torch import Tensor, nn
from torch.optim import Optimizer

from metaweight.testing.problems import OPTIMIZERS as USUAL


class Loss:
    """(outputs [U, C], labels [U]) -> [U]."""

    one_step = False
    on = False

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets, reduction="none")

    def switch(self, on: bool) -> None:
        """Turn on what only some batches go through."""
        self.on = on

    def memory(self) -> Tensor:
        """What it keeps from call to call."""
        return torch.zeros(())


class Squares(Loss):
    """The squared distance to the label's unit vector."""

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - F.one_hot(targets, CLASSES)).square().mean(1)


class InBatch(Loss):
    """A term that every pair of rows of the batch has a part in, where that is on."""

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        own = super().__call__(outputs, targets)
        return own + 0.3 * (outputs - outputs.mean(0)).square().sum(1) if self.on else own


class Remembering(Loss):
    """Sharper where earlier losses were high: it keeps their moving mean, in a tensor of its own."""

    one_step = True

    def __init__(self) -> None:
        self.mean = torch.zeros((), dtype=torch.float64)

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = super().__call__(outputs * (1 + self.mean), targets)
        self.mean = 0.5 * self.mean + 0.5 * loss.detach().mean()
        return loss

    def memory(self) -> Tensor:
        return self.mean.clone()


LOSSES: dict[str, Callable[[], Loss]] = {
    "cross-entropy": Loss,
    "squares": Squares,
    "in-batch term": InBatch,
    "loss with a memory": Remembering,
}


class Plain(torch.optim.SGD):
    """A subclass that leaves ``step`` as it is."""


def _bounding(parameters: list[nn.Parameter]) -> Optimizer:
    """SGD whose step hook shortens matrices."""
    optimizer = torch.optim.SGD(parameters, lr=0.3, momentum=0.8)
    optimizer.register_step_post_hook(_shorten)
    return optimizer


def _shorten(optimizer: Optimizer, _args: object, _kwargs: object) -> None:
    with torch.no_grad():
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.dim() == 2:
                    p.mul_(1 / (1 + 0.2 * p.norm()))


def _clipping(parameters: list[nn.Parameter]) -> Optimizer:
    """SGD whose step hook shrinks the gradients first."""
    optimizer = torch.optim.SGD(parameters, lr=0.3, momentum=0.8)
    optimizer.register_step_pre_hook(_shrink)
    return optimizer


def _shrink(optimizer: Optimizer, _args: object, _kwargs: object) -> None:
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                p.grad.div_(1 + p.grad.norm())


def _groups(parameters: list[nn.Parameter]) -> Optimizer:
    halves = [{"params": parameters[::2], "lr": 0.5}, {"params": parameters[1::2], "momentum": 0.5}]
    return torch.optim.SGD(halves, lr=0.1, momentum=0.9)


# eps as large as 1e-3, for the slopes of a fresh step of the lr * sign(g) kind would vanish in rounding
OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    **USUAL,
    "groups": _groups,
    "maximize": lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.8, maximize=True),
    "subclass": lambda p: Plain(p, lr=0.2, momentum=0.8),
    "hook after the step": _bounding,
    "hook before the step": _clipping,
    "amsgrad": lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.5, 0.6), eps=1e-3, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.02, eps=1e-3, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05, eps=1e-3, lr_decay=0.1, weight_decay=0.01),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=0.5, eps=1e-3, weight_decay=0.01),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.02, betas=(0.8, 0.9), eps=1e-3),
    "nadam": lambda p: torch.optim.NAdam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.02),
    "radam": lambda p: torch.optim.RAdam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.02),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.05, weight_decay=0.02),
}
"""Muon is not here: it orthogonalises in bfloat16, where differences of 1e-3 drown."""
