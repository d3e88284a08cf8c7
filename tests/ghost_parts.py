"""Students for engine ``ghost``: one for each layer that has a rule, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import metaweight as mw
from metaweight.core.randomness import RandomState
from metaweight.engines.base import Recorded
from metaweight.engines.ghost import Ghost, Shares
from metaweight.engines.inner import InnerStep
from metaweight.engines.one_step import TrainPass

UNITS = 6


class Parts(nn.Module):
    """Some layers, a function of them, and a head [..., 5] -> [3] over the mean of all that is between."""

    def __init__(self, call: Callable[[Parts, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.head = nn.Linear(5, 3)
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.call(self, x))


def flat(x: Tensor) -> Tensor:
    """[B, C, ...] -> [B, 5], nothing of it lost by symmetry."""
    x = x.flatten(1)
    return F.pad(x, (0, -x.shape[1] % 5)).unflatten(1, (5, -1)).square().mean(2)


def conv(*sizes: int, **options: object) -> Callable[[], nn.Module]:
    return lambda: Parts(lambda m, x: flat(m.conv(x).tanh()), conv=nn.Conv2d(*sizes, **options))


def words(x: Tensor) -> Tensor:
    return (x.flatten(1)[:, :20].abs() * 3).long().clamp(max=6)


def grown(layer: nn.Module) -> nn.Module:
    """First weights of a norm are 1 and 0, which hides a forgotten factor."""
    for parameter in layer.parameters():
        nn.init.normal_(parameter, mean=0.5)
    return layer


def in_eval(layer: nn.Module) -> nn.Module:
    layer.running_mean.normal_()
    layer.running_var.uniform_(0.5, 2)
    return grown(layer.eval())


def tied() -> nn.Module:
    module = Parts(
        lambda m, x: m.out(m.norm(m.table(words(x)) + m.other(words(x))).mean(1))[:, :5],
        table=nn.Embedding(7, 5, padding_idx=0),
        other=nn.Embedding(7, 5),
        norm=nn.LayerNorm(5),
        out=nn.Linear(5, 7, bias=False),
    )
    module.other.weight = module.out.weight = module.table.weight
    return module


def parts(call: Callable[[Parts, Tensor], Tensor], **layers: Callable[[], nn.Module]) -> Callable[[], Parts]:
    """Makes ``Parts`` with layers made anew."""
    return lambda: Parts(call, **{name: layer() for name, layer in layers.items()})


def sequence(m: Parts, x: Tensor) -> Tensor:
    return m.a(m.b(x).tanh()).mean((1, 2))


def flattened(m: Parts, x: Tensor) -> Tensor:
    return m.a(x.flatten(0, 2)).view(len(x), -1, 5).tanh().mean(1)


def in_place(m: Parts, x: Tensor) -> Tensor:
    return m.a(x.flatten(2)).mul_(2).tanh_().mean(1)


def dropped(m: Parts, x: Tensor) -> Tensor:
    return flat(F.dropout(m.a(x), 0.4, m.training).tanh())


def checkpointed(m: Parts, x: Tensor) -> Tensor:
    return checkpoint(lambda x: dropped(m, x), x, use_reentrant=False)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear-wide": parts(lambda m, x: flat(m.a(x.flatten(1)).tanh()), a=lambda: nn.Linear(48, 60)),
    "linear-sequence": parts(sequence, b=lambda: nn.Linear(4, 9), a=lambda: nn.Linear(9, 5, bias=False)),
    "linear-twice": parts(lambda m, x: m.a(m.a(x.flatten(1)[:, :5]).tanh()), a=lambda: nn.Linear(5, 5)),
    "linear-on-flattened-rows": parts(flattened, a=lambda: nn.Linear(4, 5)),
    "view-changed-in-place": parts(in_place, a=lambda: nn.Linear(16, 5)),
    "conv-strided": conv(3, 4, 3, stride=2, padding=1),
    "conv-narrowing": conv(3, 1, 2),
    "conv-grouped-dilated": conv(3, 6, (1, 2), groups=3, dilation=2, padding=(2, 1), bias=False),
    "conv-same": conv(3, 4, (2, 3), padding="same"),
    "conv-same-odd": conv(3, 4, 3, padding="same", dilation=2),
    "conv-valid": conv(3, 4, 3, padding="valid"),
    "conv-reflect": conv(3, 4, 3, padding=(1, 2), padding_mode="reflect", stride=2),
    "conv-circular-same": conv(3, 4, 2, padding="same", padding_mode="circular"),
    "embedding": parts(lambda m, x: m.a(words(x)).tanh().mean(1), a=lambda: nn.Embedding(7, 5)),
    "embedding-padded": parts(
        lambda m, x: m.a(words(x)).tanh().mean(1), a=lambda: nn.Embedding(7, 5, padding_idx=-7)
    ),
    "tied": tied,
    "layer-norm": parts(
        lambda m, x: flat(m.a(m.b(x)).tanh()),
        b=lambda: grown(nn.LayerNorm((4, 4))),
        a=lambda: grown(nn.LayerNorm(4, bias=False)),
    ),
    "group-norm": parts(lambda m, x: flat(m.a(x).tanh_()), a=lambda: grown(nn.GroupNorm(1, 3))),
    "batch-norm-eval": parts(lambda m, x: flat(m.a(x).tanh()), a=lambda: in_eval(nn.BatchNorm2d(3))),
    "batch-norm-1d-eval": parts(
        lambda m, x: m.a(x.flatten(1)[:, :5]).tanh(), a=lambda: in_eval(nn.BatchNorm1d(5))
    ),
    "instance-norm": parts(
        lambda m, x: flat(m.a(m.b(x)).tanh()),
        a=lambda: nn.Conv2d(3, 2, 2),
        b=lambda: nn.InstanceNorm2d(3, track_running_stats=True),
    ),
    "dropout": parts(dropped, a=lambda: nn.Conv2d(3, 4, 2)),
    "checkpoint": parts(checkpointed, a=lambda: nn.Conv2d(3, 4, 2)),
    "checkpoint-in-the-middle": parts(
        lambda m, x: flat(m.b(checkpointed(m, m.b(x).tanh())[:, :3, None, None])),
        a=lambda: nn.Conv2d(3, 4, 2),
        b=lambda: nn.Conv2d(3, 3, 1),
    ),
}


def batch(size: int, seed: int, dtype: torch.dtype = torch.float64) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 3, 4, 4, generator=g, dtype=torch.float64).to(dtype)
    return mw.Batch((x,), torch.randint(3, (size,), generator=g), torch.arange(size))


def build(case: Callable[[], nn.Module], dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(4)
    return case().to(dtype)


def slopes(module: nn.Module, engine: str, dtype: torch.dtype = torch.float64, **chosen: object) -> Tensor:
    moved = chosen.pop("moved", [p for p in module.parameters() if p.requires_grad])
    optimizer = torch.optim.SGD(moved, lr=0.3, momentum=0.5)
    w = torch.linspace(0.2, 1.7, UNITS, dtype=dtype).requires_grad_()
    torch.manual_seed(5)
    train, meta = batch(UNITS, 1, dtype), batch(5, 2, dtype)
    return mw.hypergradient(
        mw.Student(module), optimizer, train, meta, lambda _s: w, [w], engine, **chosen
    ).grads[0]


def shares(
    module: nn.Module, weights: Tensor, *, keep_graph: bool = True, engine: Ghost | None = None
) -> tuple[Shares, Tensor, Recorded]:
    """A differentiated pass, its loss, and what was recorded."""
    engine, student, one = engine or Ghost(), mw.Student(module), batch(UNITS, 1)
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.3)
    torch.manual_seed(5)
    random = RandomState.of(student.device)
    with engine.keeping(student) as kept:
        forward = student(one)
    recorded = Recorded(forward, {}, random, keep_graph=keep_graph, kept=kept)
    inner = InnerStep.of(optimizer, student.parameters())
    train = TrainPass(student, one, recorded, inner, keep_graph)
    return engine.differentiate(train, weights), forward.loss, recorded
