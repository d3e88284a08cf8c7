"""Other people's models, from their configurations with random weights; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

import metaweight as mw

Size = Literal["tiny", "small"]
"""For central differences, and for timing."""
BATCH: Mapping[Size, int] = {"tiny": 4, "small": 16}
"""Units of a train batch; a meta batch of ``tiny`` has one less, so that no number stands for the other."""


@dataclass(frozen=True)
class Model:
    """A model with what it takes, and the loss that is usual for it."""

    library: str
    """The distribution that it comes from."""
    build: Callable[[Size], nn.Module]
    """Random weights from torch's global generator."""
    inputs: Callable[[Size, int, torch.Generator], tuple[dict[str, Tensor], Tensor]]
    """(size, units, generator) -> arguments by name, targets."""
    loss: Any
    """(logits, targets) -> units."""
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    described: str

    def student(self, module: nn.Module) -> mw.Student:
        """The model as it is, with its unit losses."""
        return mw.Student(module, self.loss)

    def batch(self, size: Size, units: int, first: int, generator: torch.Generator) -> mw.Batch:
        """``units`` random samples; positions from ``first`` on."""
        inputs, targets = self.inputs(size, units, generator)
        return mw.Batch(inputs=inputs, targets=targets, index=first + torch.arange(units))


Load = Callable[[], Model]
"""Imports a model's library; raises ModuleNotFoundError without it."""


def adamw(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """As Transformers are trained; an eps that leaves a slope to steps from small gradients."""
    return torch.optim.AdamW(parameters, lr=1e-3, eps=1e-6)


def momentum(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """As networks with convolutions are trained."""
    return torch.optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=5e-4)
