"""What torch cannot differentiate is refused by each engine with a way out, so that ``auto`` goes on."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from students import STEP_ENGINES, engine_for
from torch import Tensor, nn

import metaweight as mw
from metaweight.testing.oracles import RealSteps, differences, relative

TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])
IDS = torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 1], [2, 2, 4], [5, 1, 1], [3, 8, 7]])
WEIGHTS = torch.linspace(0.5, 1.5, 6).double()


class Bag(nn.Module):
    """nn.EmbeddingBag has no derivative of its backward."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.EmbeddingBag(9, 4), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.words(ids)))


class Sparse(nn.Module):
    """Gradients of an embedding as sparse tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(9, 4, sparse=True), nn.Linear(4, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.words(ids)).mean(1))


class Ragged(nn.Module):
    """A nested tensor, a row of vectors for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([row.mean(0) for row in self.layer(x).unbind()])


def nested() -> Tensor:
    g = torch.Generator().manual_seed(0)
    rows = [torch.randn(n, 4, generator=g).double() for n in (2, 3, 4, 1, 2, 3)]
    return torch.nested.nested_tensor(rows, layout=torch.jagged)


@torch.compile(backend="aot_eager")
def compiled_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


CASES = {
    "bag": (Bag, lambda: IDS, mw.losses.cross_entropy),
    "sparse": (Sparse, lambda: IDS, mw.losses.cross_entropy),
    "nested": (Ragged, nested, mw.losses.cross_entropy),
    "compiled-loss": (lambda: nn.Linear(4, 3), lambda: torch.randn(6, 4).double(), compiled_loss),
}
# the engines that are right; all others refuse
ABLE = {
    "bag": {"ghost", "difference", "auto"},
    "sparse": set(),
    "nested": {"difference"},
    "compiled-loss": {"forward", "difference", "auto"},
}


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's own, of the loss that it compiles
@pytest.mark.parametrize("engine", [*STEP_ENGINES, "auto"])
@pytest.mark.parametrize("case", CASES)
def test_it_is_right_or_refused(case: str, engine: str) -> None:
    torch.manual_seed(0)
    build, inputs, loss = CASES[case]
    module = build().double()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    student = mw.Student(module, loss=loss)
    train = mw.Batch((inputs(),), TARGETS, torch.arange(6))
    w = WEIGHTS.clone().requires_grad_()

    def slopes() -> Tensor:
        chosen = engine_for(engine, optimizer)
        return mw.hypergradient(student, optimizer, train, train, lambda _s: w, [w], chosen).grads[0]

    if engine in ABLE[case]:
        truth = RealSteps(student, optimizer, [train], train).slopes([WEIGHTS])[0]
        assert relative(slopes(), truth) <= (1e-5 if engine == "difference" else 1e-6)
    else:
        with pytest.raises((mw.engines.EngineError, ValueError), match=r"engines? '|engine='|sparse=False"):
            slopes()


class Scripted(nn.Module):
    """A part went through torch.jit.script."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.jit.script(nn.Sequential(nn.Linear(4, 5), nn.Tanh()))
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is")
@pytest.mark.parametrize("engine", [*STEP_ENGINES, "auto"])
def test_scripted_parts(engine: str) -> None:
    """Real steps are live: a deep copy of such a part shares no parameters with one of its optimizer."""
    torch.manual_seed(0)
    module, inputs = Scripted().double(), torch.randn(6, 4).double()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    student, train = mw.Student(module), mw.Batch((inputs,), TARGETS, torch.arange(6))
    w = WEIGHTS.clone().requires_grad_()

    def meta_loss(weights: Tensor) -> float:
        start = {name: value.clone() for name, value in module.state_dict().items()}
        optimizer.zero_grad()
        (weights * F.cross_entropy(module(inputs), TARGETS, reduction="none")).mean().backward()
        optimizer.step()
        value = float(F.cross_entropy(module(inputs), TARGETS).detach())
        module.load_state_dict(start)
        return value

    chosen = engine_for(engine, optimizer)
    if engine == "higher":
        with pytest.raises(mw.engines.EngineError, match="scripted parts; use engine='forward'"):
            mw.hypergradient(student, optimizer, train, train, lambda _s: w, [w], chosen)
        return
    truth = differences(meta_loss, WEIGHTS)
    optimizer.zero_grad()
    found = mw.hypergradient(student, optimizer, train, train, lambda _s: w, [w], chosen).grads[0]
    assert relative(found, truth) <= (1e-5 if engine == "difference" else 1e-6)


@pytest.mark.parametrize("engine", ["forward", "double", "reverse", "higher"])
def test_an_embedding_bag_is_sent_where_it_is_taken(engine: str) -> None:
    torch.manual_seed(0)
    module = Bag().double()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    batch = mw.Batch((IDS,), TARGETS, torch.arange(6))
    w = WEIGHTS.clone().requires_grad_()
    with pytest.raises(mw.engines.EngineError, match="'difference' take an EmbeddingBag"):
        mw.hypergradient(
            mw.Student(module), optimizer, batch, batch, lambda _s: w, [w], engine_for(engine, optimizer)
        )
