"""Students of a few parameters, each with something that an engine may stumble over, in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from metaweight.core.contracts import Batch
from metaweight.student.losses import TokenCrossEntropy
from metaweight.student.student import Student
from metaweight.testing.oracles import RealSteps, cross_entropy, plain_step

UNITS, CLASSES = 6, 3
DOUBLE = torch.float64


class Attending(nn.Module):
    """Self-attention over four positions."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        values = x.view(len(x), 2, 4).repeat(1, 2, 1).cumsum(dim=1)
        logits: Tensor = self.head(self.attention(values, values, values, need_weights=False)[0].mean(dim=1))
        return logits


class Idle(nn.Module):
    """A layer that nothing depends on beside those that count."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.idle = _layers(), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def _layers(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 5), *between, nn.Tanh(), nn.Linear(5, CLASSES))


MODULES: Mapping[str, Callable[[], nn.Module]] = {
    "layers": _layers,
    "dropout": lambda: _layers(nn.Dropout(0.4)),
    "batchnorm": lambda: _layers(nn.BatchNorm1d(5)),
    "attention": Attending,
    "idle": Idle,
    "tokens": lambda: nn.Sequential(nn.Embedding(7, 4), nn.Tanh(), nn.Linear(4, 7)),
}
OPTIMIZERS: Mapping[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "momentum": lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.8, dampening=0.3, weight_decay=0.02),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.3),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.7, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.02),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
}


def problem(kind: str, optimizer: str = "momentum", *, steps: int = 1, warm: int = 2) -> RealSteps:
    """The student ``kind`` after ``warm`` real steps, with ``steps`` train batches and a meta batch."""
    make = sentences if kind == "tokens" else samples
    loss = of_tokens if kind == "tokens" else cross_entropy
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        module = MODULES[kind]().to(DOUBLE)
        own = OPTIMIZERS[optimizer](list(module.parameters()))
        for step in range(warm):
            plain_step(module, own, make(UNITS, 50 + step), torch.ones((), dtype=DOUBLE), loss=loss)
    student = Student(module, TokenCrossEntropy(0, unit="token") if kind == "tokens" else loss)
    return RealSteps(
        student, own, [make(UNITS, 1 + step) for step in range(steps)], make(UNITS - 1, 100), loss=loss
    )


def weights_for(steps: RealSteps, *, least: float = 0.5) -> list[Tensor]:
    """Different weights for all units of every batch."""
    g = torch.Generator().manual_seed(7)
    sizes = [int((one.targets != 0).sum()) if one.targets.dim() == 2 else len(one) for one in steps.train]
    return [torch.rand(size, generator=g, dtype=DOUBLE) + least for size in sizes]


def falling_rates(steps: RealSteps) -> list[list[float]]:
    """Learning rates that fall from step to step."""
    groups = steps.optimizer.param_groups
    return [[group["lr"] * 0.7**step for group in groups] for step in range(len(steps.train))]


def samples(size: int, seed: int) -> Batch:
    """Random vectors with labels."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 8, generator=g, dtype=DOUBLE)
    return Batch((x,), torch.randint(CLASSES, (size,), generator=g), torch.arange(size) + 100 * seed)


def sentences(size: int, seed: int) -> Batch:
    """Random words, each with the word that is to follow; 0 is padding."""
    g = torch.Generator().manual_seed(seed)
    real = torch.arange(3) < torch.randint(1, 4, (size, 1), generator=g)
    words, targets = (torch.randint(1, 7, (size, 3), generator=g) * real for _ in range(2))
    return Batch((words,), targets, torch.arange(size) + 100 * seed)


def of_tokens(outputs: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of every real token."""
    real = targets != 0
    return cross_entropy(outputs[real], targets[real])
