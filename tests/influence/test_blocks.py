"""The way back block by block: the same slopes, and the graph of one block."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whole_runs import Case, Rows, case, mlp, rows
from whole_translations import translator

from metaweight.engines.checks import EngineError
from metaweight.influence import WholeRun
from metaweight.influence.blocks import blocks_of, kept_at_edges
from metaweight.influence.norms import Observed
from metaweight.influence.pieces import Piece
from metaweight.models.convnet import ConvNet
from metaweight.models.resnet import BasicBlock, ResNet
from metaweight.models.transformer import Transformer
from metaweight.models.transformer_layers import DecoderLayer, EncoderLayer

CPU = torch.device("cpu")


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How each step was gone back through, with those that failed."""
    noted: list[str] = []

    def noting(name: str) -> Callable[..., Any]:
        original = getattr(Piece, name)

        def way(self: Piece, *args: Any) -> Any:
            found = original(self, *args)
            noted.append(name if found is not None else f"not {name}")
            return found

        return way

    for name in ("at_once", "by_blocks", "by_rows"):
        monkeypatch.setattr(Piece, name, noting(name))
    return noted


def apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def own(module: Callable[[], nn.Module], shape: tuple[int, ...] = (16,), **options: Any) -> Case:
    return Case(module, Rows(rows(shape, 24, 3)), rows(shape, 5, 4), **{"epochs": 3, **options})


class Stack(nn.Module):
    """Blocks in a list, between what stands by itself."""

    def __init__(self, block: Callable[[], nn.Module], count: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(16, 6)
        self.blocks = nn.ModuleList([block() for _ in range(count)])
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        for block in self.blocks:
            x = self.called(block, x)
        return self.head(x)

    def called(self, block: nn.Module, x: Tensor) -> Tensor:
        return block(x)


class Normed(nn.Module):
    """BatchNorm and dropout; the norm may keep the mean of all batches."""

    def __init__(self, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.inner, self.norm = nn.Linear(6, 6), nn.BatchNorm1d(6, momentum=momentum)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(F.gelu(self.norm(self.inner(x))))


class Noisy(nn.Module):
    """Draws of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * (1 + 0.1 * torch.randn(x.shape, dtype=x.dtype))


class Named(nn.Module):
    """Called with names, a list and numbers, and gives a tuple with what is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

    def forward(self, x: Tensor, *, scale: float, more: dict[str, list[Tensor]]) -> tuple[Any, ...]:
        return self.inner(x) * scale + more["of"][0] * more["of"][1], None, ("kept", more["of"][1])


class ByNames(Stack):
    """What goes into a block has a gradient beside its first tensor, and a mask has none."""

    def called(self, block: nn.Module, x: Tensor) -> Tensor:
        found, _, (_, mask) = block(x, scale=0.5, more={"of": [x.sin(), (x > 0).to(x.dtype)]})
        return found * mask


class OneForAll(Stack):
    """A single block, three times, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__(lambda: nn.Sequential(nn.Linear(6, 6), nn.Tanh()), 2)
        self.blocks[1].requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        for number in (0, 1, 0, 0):
            x = self.blocks[number](x)
        return self.head(x)


def in_a_row() -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(16, 6)]
    for _ in range(5):
        layers += [nn.BatchNorm1d(6), nn.GELU(), nn.Dropout(0.1), nn.Linear(6, 6)]
    return nn.Sequential(nn.Sequential(*layers), nn.Linear(6, 3))


BY_BLOCKS: dict[str, Callable[[], Case]] = {
    "norms and dropout": lambda: own(lambda: Stack(Normed), optimizer="adam"),
    "norms of all batches": lambda: own(lambda: Stack(lambda: Normed(None))),
    "own draws": lambda: own(lambda: Stack(Noisy)),
    "names and tuples": lambda: own(lambda: ByNames(Named)),
    "one for all, and frozen": lambda: own(OneForAll),
    "in a row": lambda: own(in_a_row, optimizer="adamw"),
    "images": lambda: own(lambda: ConvNet(3, 1, 8, width=4, activation="gelu"), (1, 8, 8)),
    "residual": lambda: own(lambda: ResNet(3, 1, 8, depth=8), (1, 8, 8), max_norm=None),
    "attention with dropout": lambda: case("encoder-dropout", optimizer="adamw", epochs=3),
    "sentences": lambda: translator("adam", epochs=3),
    "tokens": lambda: translator("sgd", "token", epochs=3),
}


@pytest.mark.parametrize("name", BY_BLOCKS)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_same_slopes_block_by_block(name: str, mode: Any, ways: list[str]) -> None:
    built = BY_BLOCKS[name]()
    expected = built.recorded().influence(built.meta, mode=mode)
    steps = len(ways)
    ways.clear()
    found = built.recorded(low_memory=True).influence(built.meta, mode=mode)
    assert ways == ["by_blocks"] * steps
    assert apart(found.values, expected.values) < 1e-11
    assert torch.equal(found.losses, expected.losses)


def test_several_losses_and_epochs(ways: list[str]) -> None:
    built = own(lambda: Stack(Normed))
    asked: dict[str, Any] = {"each": True, "by_epoch": True}
    expected = built.recorded().influence(built.meta, **asked).by_epoch
    ways.clear()
    found = built.recorded(low_memory=True).influence(built.meta, **asked).by_epoch
    assert set(ways) == {"by_blocks"}
    assert found is not None
    assert expected is not None
    assert apart(found, expected) < 1e-11


class Scaled(nn.Module):
    """Changes what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.mul_(1.5))


class Bare(Stack):
    """Nothing that its first layer gives is needed later."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x + 0)
        return self.head(x)


class Beside(Stack):
    """A block is called with a tensor where nobody looks for one."""

    def called(self, block: nn.Module, x: Tensor) -> Tensor:
        return block(x, SimpleNamespace(more=x.sin()))


class Reading(nn.Module):
    """Takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

    def forward(self, x: Tensor, beside: SimpleNamespace) -> Tensor:
        return self.inner(x) + beside.more


NOT_BY_BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "changes its input": lambda: Bare(Scaled),
    "reads beside": lambda: Beside(Reading),
}


@pytest.mark.parametrize("name", NOT_BY_BLOCKS)
def test_blocks_that_are_not_all_that_they_are_called_with(name: str, ways: list[str]) -> None:
    """They are found out at the first step, and what they said is in no answer."""
    built = own(NOT_BY_BLOCKS[name])
    expected = built.recorded().influence(built.meta)
    ways.clear()
    found = built.recorded(low_memory=True).influence(built.meta)
    assert ways[0] == "not by_blocks"
    assert ways.count("not by_blocks") == 1
    assert "by_blocks" not in ways
    assert apart(found.values, expected.values) < 1e-11


def test_many_logits_are_gone_through_by_rows(ways: list[str]) -> None:
    class Wide(Stack):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) @ torch.ones(3, 400, dtype=x.dtype).tril()

    built = own(lambda: Wide(lambda: nn.Sequential(nn.Linear(6, 6), nn.Tanh())))
    expected = built.recorded().influence(built.meta)
    ways.clear()
    found = built.recorded(low_memory=True).influence(built.meta)
    assert ways == ["not by_blocks", *["by_rows"] * 12]
    assert apart(found.values, expected.values) < 1e-11


@pytest.mark.parametrize("low_memory", [False, True])
def test_a_wrong_second_derivative_inside_a_block_is_refused(low_memory: bool) -> None:
    def block() -> nn.Module:
        return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)), nn.Tanh())

    built = own(lambda: Stack(block))
    with pytest.raises(EngineError, match="weight_norm has a wrong second derivative"):
        built.recorded(low_memory=low_memory).influence(built.meta)


def kept_bytes(module: nn.Module, x: Tensor, *, by_blocks: bool) -> int:
    """What the graph of one pass holds beside the parameters."""
    parameters = {p.untyped_storage().data_ptr() for p in module.parameters()}
    held: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in parameters:
            held[storage.data_ptr()] = storage.nbytes()
        return value

    observed = Observed({})
    blocks = blocks_of(module) if by_blocks else []
    with (
        kept_at_edges(blocks, observed, CPU, lambda value: None),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value),
    ):
        loss = module(x).square().mean()
    assert loss.requires_grad
    return sum(held.values())


def test_a_pass_keeps_what_goes_into_its_blocks() -> None:
    module = Stack(Normed, 6)
    x = torch.randn(50, 16)
    block = 50 * 6 * 4
    assert kept_bytes(module, x, by_blocks=True) <= 9 * block + x.nbytes + 1000
    assert kept_bytes(module, x, by_blocks=False) > 20 * block


def kinds(module: nn.Module) -> list[Any]:
    """The parts of each block, by class."""
    return [[type(part) for part in block.parts] for block in blocks_of(module)]


def test_the_blocks_of_students() -> None:
    assert kinds(ResNet(3, 1, 8, depth=8)) == [[BasicBlock]] * 3
    assert kinds(Transformer(9, 9, width=8, heads=2)) == [[EncoderLayer]] * 2 + [[DecoderLayer]] * 2
    assert kinds(nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 3))) == []
    # stages that are lists of blocks, and layers between them
    stages = nn.Sequential(
        nn.Conv2d(1, 2, 1),
        nn.Sequential(BasicBlock(2, 2, 1), BasicBlock(2, 2, 1)),
        nn.Sequential(BasicBlock(2, 4, 2), BasicBlock(4, 4, 1)),
    )
    assert kinds(stages) == [[BasicBlock]] * 4
    row = nn.Sequential(*(nn.Linear(4, 4) if n % 2 else nn.ReLU() for n in range(10)))
    assert [len(parts) for parts in kinds(nn.ModuleList([row]))] == [4, 4, 2]
    own_forward = ResNet(3, 1, 8, depth=8)
    own_forward.layer1[0].forward = own_forward.layer1[0].forward
    assert kinds(own_forward) == [[BasicBlock]] * 2


def test_layers_stand_as_they_stood_after_it() -> None:
    built = own(lambda: Stack(Normed))
    run: WholeRun = built.recorded(low_memory=True)
    run.influence(built.meta)
    for part in run.recording.student.module.modules():
        assert "forward" not in vars(part)
        assert not part._forward_pre_hooks


def test_a_student_without_blocks_goes_by_rows(ways: list[str]) -> None:
    built = mlp(epochs=1)
    built.recorded(low_memory=True).influence(built.meta)
    assert set(ways) == {"by_rows"}
