"""Students small enough for central differences, and slow ways to get the numbers that engines must give."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaweight as mw
from metaweight.core.randomness import RandomState
from metaweight.engines import Engine, Reverse


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


STEP_ENGINES = [name for name in mw.engines.names() if name != "implicit"]
"""The engines that differentiate inner steps; ``implicit`` answers another question."""
EXACT = [name for name in STEP_ENGINES if name != "difference"]


def agreement(engine: str, exact: float = 1e-9) -> float:
    """The relative error that an engine may have in float64."""
    return exact if engine in EXACT else max(exact, 1e-5)


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
# what an engine refuses, and the part that its EngineError names; it must be right on all other students
REFUSED: dict[str, dict[str, str]] = {
    "ghost": {
        "batchnorm-resnet": r"'bn1' \(BatchNorm2d\)",
        "encoder": r"'encoder\.layers\.0\.self_attn' \(MultiheadAttention\)",
        "encoder-dropout": r"'encoder\.layers\.0\.self_attn' \(MultiheadAttention\)",
        "gru": r"'rnn' \(GRU\)",
    },
}
OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.3),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.8, dampening=0.3, weight_decay=0.02),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.7, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.02),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
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


def plain_step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: mw.Batch,
    weights: Tensor,
    max_norm: float | None = None,
) -> None:
    """What a user writes: weighted loss, backward, clip, step."""
    optimizer.zero_grad()
    (weights * F.cross_entropy(module(*train.inputs), train.targets, reduction="none")).mean().backward()
    if max_norm is not None:
        torch.nn.utils.clip_grad_norm_(module.parameters(), max_norm)
    optimizer.step()


def twin(module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Deep copies of both that belong together."""
    return copy.deepcopy((module, optimizer))


def meta_loss_after(
    student: mw.Student,
    optimizer: torch.optim.Optimizer,
    train: list[mw.Batch],
    meta: mw.Batch,
    weights: list[Tensor],
    max_norm: float | None = None,
    rates: Sequence[Sequence[float]] | None = None,
) -> float:
    """The meta loss after real steps of a copy with the real torch optimizer, same masks each time."""
    state = RandomState.of(student.device)
    module, own = twin(student.module, optimizer)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        for step, (one, w) in enumerate(zip(train, weights, strict=True)):
            for number, group in enumerate(own.param_groups):
                group["lr"] = group["lr"] if rates is None else rates[step][number]
            plain_step(module, own, one, w, max_norm)
        with torch.no_grad():
            loss = F.cross_entropy(module(*meta.inputs), meta.targets)
    state.restore(student.device)
    return float(loss)


def central_differences(
    student: mw.Student,
    optimizer: torch.optim.Optimizer,
    train: list[mw.Batch],
    meta: mw.Batch,
    weights: list[Tensor],
    *,
    max_norm: float | None = None,
    rates: Sequence[Sequence[float]] | None = None,
    h: float = 1e-4,
) -> list[Tensor]:
    """dL_meta/dw for every weight by central differences of order 4 through the real optimizer."""

    def shifted(step: int, unit: int, by: float) -> float:
        moved = [w.clone() for w in weights]
        moved[step][unit] += by
        return meta_loss_after(student, optimizer, train, meta, moved, max_norm, rates)

    def slope(step: int, unit: int) -> float:
        near = shifted(step, unit, h) - shifted(step, unit, -h)
        far = shifted(step, unit, 2 * h) - shifted(step, unit, -2 * h)
        return (8 * near - far) / (12 * h)

    return [
        torch.tensor([slope(k, i) for i in range(len(w))], dtype=torch.float64) for k, w in enumerate(weights)
    ]


def relative(a: Tensor, b: Tensor) -> float:
    """|a - b| / |b|."""
    return float((a - b).norm() / b.norm())


def snapshot(student: mw.Student, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Everything live that an engine must leave alone, as clones."""
    live = [*student.module.parameters(), *student.module.buffers(), torch.get_rng_state()]
    for state in optimizer.state.values():
        live += [v for v in state.values() if isinstance(v, Tensor)]
    live += [p.grad for p in student.module.parameters() if p.grad is not None]
    return [t.detach().clone() for t in live]
