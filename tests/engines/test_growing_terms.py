"""Terms whose coefficient is computed in the pass: it was 0 at the checks, and grows between two of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from students import batch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import metaweight as mw
from metaweight.engines import EngineError, build_engine
from metaweight.engines.graph import Graph
from metaweight.engines.watch import GROWTH, Watch

START = 10
"""Training passes before the coefficient leaves 0: the batches that are checked anyway are 1, 2, 4, 8, 16."""


class Annealed(nn.Module):
    """Counts its training passes; ``strength`` is 0 for the first ``START`` of them."""

    def __init__(self, inside: bool = False) -> None:
        super().__init__()
        self.hidden, self.head, self.inside = nn.Linear(8, 6), nn.Linear(6, 3), inside
        self.register_buffer("count", torch.zeros(()))
        self.passes = 0

    @property
    def strength(self) -> Tensor:
        return 0.1 * (self.count - START).clamp(min=0).double()

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.passes += 1
        h = torch.tanh(self.hidden(x))
        if self.inside:
            h = h + self.strength * (h - h.mean(0))
        return self.head(h)


def spread(outputs: Tensor) -> Tensor:
    """A term over the batch [U]."""
    return (outputs - outputs.mean(0)).square().sum(1)


def times(loss: Tensor, term: Tensor, module: Annealed) -> Tensor:
    return loss + module.strength * term


def by_a_number(loss: Tensor, term: Tensor, module: Annealed) -> Tensor:
    return loss + max(0, module.passes - START) * 0.1 * term


def alpha(loss: Tensor, term: Tensor, module: Annealed) -> Tensor:
    return loss.add(term, alpha=float(module.strength))


def between(loss: Tensor, term: Tensor, module: Annealed) -> Tensor:
    return torch.lerp(loss, term, module.strength)


def switched(loss: Tensor, term: Tensor, module: Annealed) -> Tensor:
    return loss + torch.where(module.strength > 0, term, torch.zeros_like(term))


def over(loss: Tensor, term: Tensor, module: Annealed) -> Tensor:
    return loss + term / (1e-12 + module.strength).reciprocal()


def spread_out(loss: Tensor, term: Tensor, module: Annealed) -> Tensor:
    return loss + module.strength.expand(len(loss)) * term


def run(joined: Callable[..., Tensor] | None, engine: str, batches: int) -> list[mw.StepReport]:
    torch.manual_seed(0)
    module = Annealed(inside=joined is None).double()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        own = F.cross_entropy(outputs, targets, reduction="none")
        return own if joined is None else joined(own, spread(outputs), module)

    student = mw.Student(module, loss=loss)
    first, meta = batch((8,), 6, 1), batch((8,), 5, 99)
    reweighter = mw.Reweighter(
        student,
        mw.build_teacher("mw-net", student.spec(first)).double(),
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        engine=build_engine(engine),
    )
    return [reweighter.step(batch((8,), 6, k), meta) for k in range(batches)]


@pytest.mark.parametrize(
    "joined",
    [None, times, by_a_number, alpha, between, switched, over, spread_out],
    ids=lambda f: str(f and f.__name__),
)
def test_ghost_is_checked_as_soon_as_the_term_counts(joined: Callable[..., Tensor] | None) -> None:
    run(joined, "ghost", START)
    with pytest.raises(EngineError, match="engine='auto'"):
        run(joined, "ghost", START + 1)


def test_auto_goes_on_with_another_engine() -> None:
    ours, theirs = (run(times, engine, START + 3) for engine in ("auto", "double"))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.weights, other.weights, rtol=1e-9, atol=1e-12)


def test_a_graph_tells_the_numbers_that_scale_its_terms() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    mask, scale = torch.rand(3, 4), torch.tensor(-0.25)
    loss = (scale * x.exp()).sum(1) + (mask * x).sum(1) * 3
    assert sorted(Graph.of(loss).numbers) == [0.25, 1.0, 3.0]  # alpha of the sum is 1


def test_a_checkpointed_part_is_not_run_again_to_see_its_numbers() -> None:
    passes: list[int] = []

    def part(x: Tensor) -> Tensor:
        passes.append(1)
        return torch.tensor(0.5) * x.exp()

    loss = 2 * checkpoint(part, torch.randn(3, requires_grad=True), use_reentrant=False)
    assert 2.0 in Graph.of(loss).numbers
    assert len(passes) == 1


def test_a_number_is_checked_where_it_leaves_what_was_checked() -> None:
    seen = Watch()

    def checked(*numbers: float) -> bool:
        due = seen.due("kind", "shape", 10**6, numbers)
        seen.passed("kind", "shape", checked=due, numbers=numbers)
        return due

    for _ in range(70):
        checked(0.0, 1.0)
    assert checked(1e-9, 1.0)
    assert not checked(1e-9 * GROWTH, 1.0)
    assert checked(1e-9 * GROWTH * 1.1, 1.0)
    assert not checked(0.0, 1.0)
    assert checked(0.0, 0.4)
    grown = [checked(0.0, float(k)) for k in range(1, 1000)]
    assert sum(grown) <= 2 * len(f"{1000:b}")  # each doubling; the powers of two among all batches
    assert checked(0.0, 1000.0, 1.0)
