"""Students small enough for central differences, and which engine refuses which."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

import metaweight as mw
from metaweight.engines import Engine, Reverse
from metaweight.testing import problems
from metaweight.testing.oracles import plain_step


class BatchNormResNet(nn.Module):
    """Two residual blocks with BatchNorm, the second one strided."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(3)
        self.conv = nn.Conv2d(3, 3, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.bn1(self.stem(x)))
        x = torch.tanh(self.bn2(self.conv(x)) + x[..., ::2, ::2])
        return self.head(x.mean((2, 3)))


class GroupNormResNet(nn.Module):
    """A residual block with GroupNorm, activations in place, a grouped and a strided convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding="same")
        self.norm1 = nn.GroupNorm(2, 4)
        self.conv = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2, bias=False)
        self.norm2 = nn.GroupNorm(1, 4)
        self.act = nn.SiLU(inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm1(self.stem(x)))
        x = self.act(self.norm2(self.conv(x)).add_(x[..., ::2, ::2]))
        return self.head(x.mean((2, 3)))


class Words(nn.Module):
    """Embeddings with padding, LayerNorm and linear layers over a sequence."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5, padding_idx=0)
        self.norm = nn.LayerNorm(5)
        self.hidden = nn.Linear(5, 6)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        words = self.norm(self.embedding((x.flatten(1).abs() * 3).long().clamp(max=6)))
        return self.head(self.dropout(self.hidden(words).tanh_()).mean(1))


class Encoder(nn.Module):
    """A LayerNorm Transformer encoder that reads its fused attention through nn.MultiheadAttention."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        # GELU: central differences across the kink of a ReLU would measure the kink
        layer = nn.TransformerEncoderLayer(
            8, 2, 12, dropout=dropout, batch_first=True, norm_first=True, activation="gelu"
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


class Recurrent(nn.Module):
    """A GRU or an LSTM with a linear head."""

    def __init__(self, kind: type[nn.RNNBase] = nn.GRU) -> None:
        super().__init__()
        self.rnn = kind(8, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Tied(nn.Module):
    """A shared weight and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.second(torch.tanh(self.first(x.flatten(1)[:, :8]))))
        return self.head(torch.tanh(self.frozen(x)))


class OwnRandom(nn.Module):
    """Draws its mask from a generator that nobody replays."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.rand(len(x), 8, generator=self.generator, dtype=x.dtype)
        return self.head(x[:, 0] * mask)


class Unrepeatable(OwnRandom):
    """Draws its mask from the operating system: no second pass is like the first."""

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.tensor([[random.SystemRandom().random() for _ in range(8)] for _ in x], dtype=x.dtype)
        return self.head(x[:, 0] * mask)


class Outside(torch.autograd.Function):
    """x * sigmoid(x), differentiated by numpy: right, and without a graph."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        x = ctx.saved_tensors[0].detach().numpy()
        s = 1 / (1 + np.exp(-x))
        return torch.from_numpy(gradient.detach().numpy() * (s + x * s * (1 - s)))


STEP_ENGINES = [name for name in mw.engines.names() if name not in ("implicit", "auto", "first-order")]
"""The engines that differentiate inner steps: ``implicit`` answers another question, ``auto`` asks these, and
``first-order`` is ``ghost`` along another direction (test_first_order)."""
EXACT = [name for name in STEP_ENGINES if mw.engines.build_engine(name).abilities.exact]


def agreement(engine: str, exact: float = 1e-9) -> float:
    """The relative error that an engine may have in float64."""
    return exact if engine in EXACT else max(exact, 1e-5)


SHAPE = (1, 4, 4)
"""Of an image."""
STUDENTS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "batchnorm-resnet": (BatchNormResNet, (1, 4, 4), "bn2"),
    "groupnorm-resnet": (GroupNormResNet, (1, 4, 4), "norm2"),
    "words": (Words, (3, 8), "hidden"),
    "words-dropout": (lambda: Words(0.3), (3, 8), "hidden"),
    "encoder": (Encoder, (3, 8), "encoder"),
    "encoder-dropout": (lambda: Encoder(0.1), (3, 8), "encoder"),
    "gru": (Recurrent, (3, 8), "rnn"),
    "tied-and-frozen": (Tied, (3, 8), "second"),
}


class Dropped(nn.Module):
    """BatchNorm and dropout: both keep state that an engine could disturb."""

    def __init__(self, body: str = "batchnorm-resnet") -> None:
        super().__init__()
        self.body = STUDENTS[body][0]()
        self.drop = nn.Dropout(0.4)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.body(x))


# what an engine refuses, and the part that its EngineError names; it must be right on all other students
REFUSED: dict[str, dict[str, str]] = {
    "ghost": {
        "batchnorm-resnet": r"'bn1' \(BatchNorm2d\)",
    },
}
OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    **problems.OPTIMIZERS,
    "amsgrad": lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.5, 0.6), eps=1e-3, amsgrad=True),
    "groups": lambda p: torch.optim.SGD(
        [{"params": p[:2], "lr": 0.5}, {"params": p[2:]}], lr=0.1, momentum=0.9
    ),
}


def able(engines: Iterable[str], students: Iterable[str] = STUDENTS) -> list[tuple[str, str]]:
    """All pairs of an engine and a student that it can differentiate."""
    return [(e, s) for e in engines for s in students if s not in REFUSED.get(e, {})]


def able_student(engine: str, *students: str) -> str:
    """The first of ``students`` that an engine can differentiate."""
    return next(s for s in students if s not in REFUSED.get(engine, {}))


def engine_for(name: str, optimizer: torch.optim.Optimizer) -> str | Engine:
    """The engine; ``reverse`` keeps snapshots where the steps of this optimizer cannot be undone."""
    undone = isinstance(optimizer, torch.optim.SGD) and all(
        group["momentum"] and not group["nesterov"] for group in optimizer.param_groups
    )
    return Reverse("snapshots") if name == "reverse" and not undone else name


def batch(shape: tuple[int, ...], size: int, seed: int, *, dtype: torch.dtype = torch.float64) -> mw.Batch:
    """Random inputs and labels of three classes."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(size, *shape, generator=g, dtype=dtype)
    return mw.Batch((x,), torch.randint(0, 3, (size,), generator=g), torch.arange(size) + 100 * seed)


def make(
    student: str, optimizer: str, *, warm: int = 3
) -> tuple[mw.Student, torch.optim.Optimizer, mw.Batch, mw.Batch]:
    """A student in float64 after ``warm`` real steps, its optimizer, a train batch and a meta batch."""
    torch.manual_seed(5)
    build, shape, tap = STUDENTS[student]
    module = build().double()
    chosen = OPTIMIZERS[optimizer]([p for p in module.parameters() if p.requires_grad])
    for step in range(warm):
        plain_step(module, chosen, batch(shape, 6, 50 + step), torch.ones(6, dtype=torch.float64))
    return mw.Student(module, taps=(tap,)), chosen, batch(shape, 6, 1), batch(shape, 5, 2)
