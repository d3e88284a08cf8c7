"""The proof of engine ``ghost`` for any student: per-sample gradients by autograd in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import metaweight as mw
from metaweight.core.randomness import RandomState
from metaweight.engines.base import Recorded
from metaweight.engines.ghost import Ghost, Shares
from metaweight.engines.inner import InnerStep
from metaweight.engines.one_step import TrainPass
from metaweight.testing.oracles import relative


class Called(nn.Module):
    """A module called in some way, with one tensor of outputs."""

    def __init__(self, body: nn.Module, call: Callable[..., Tensor]) -> None:
        super().__init__()
        self.body, self.call = body, call

    def forward(self, *inputs: Any) -> Tensor:
        return self.call(self.body, *inputs)


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """[U, ...] -> [U]: nothing of the outputs is lost by symmetry."""
    flat = outputs.flatten(1)
    return (flat.sin() * torch.linspace(0.5, 1.5, flat.shape[1], dtype=flat.dtype)).sum(
        1
    ) + flat.square().mean(1)


def passed(
    module: nn.Module,
    inputs: Sequence[Any],
    engine: Ghost,
    weights: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor] = squared,
    *,
    keep_graph: bool = True,
    solve: bool = True,
) -> tuple[Shares | None, Tensor, Recorded]:
    """A differentiated pass (unless not ``solve``), its losses with their graph, and its record."""
    units = len(weights)
    batch = mw.Batch(tuple(inputs), torch.arange(units), torch.arange(units))
    student = mw.Student(module, loss=loss)
    inner = InnerStep.of(
        torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.1), student.parameters()
    )
    torch.manual_seed(5)
    random = RandomState.of(student.device)
    with engine.keeping(student) as kept:
        forward = student.functional(batch, {}, student.buffers())
    recorded = Recorded(forward, {}, random, keep_graph=keep_graph, kept=kept)
    train = TrainPass(student, batch, recorded, inner, keep_graph)
    shares = engine.differentiate(train, weights) if solve else None
    return shares, forward.loss, recorded


def prove(
    module: nn.Module,
    inputs: Sequence[Any],
    loss: Callable[[Tensor, Tensor], Tensor] = squared,
    *,
    engine: Ghost | None = None,
    units: int | None = None,
    tolerance: float = 1e-10,
) -> tuple[Shares, Recorded]:
    """Assert that slopes in any direction and gradients at any weights are per-sample gradients'."""
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    units = len(inputs[0]) if units is None else units
    shares, losses, recorded = passed(module, inputs, engine or Ghost(), torch.zeros(units).double(), loss)
    ways = [
        torch.autograd.grad(one, list(parameters.values()), retain_graph=True, allow_unused=True)
        for one in losses
    ]
    names = [name for name, g in zip(parameters, ways[0], strict=True) if g is not None]
    each = {
        name: torch.stack([way[place] for way in ways])
        for place, name in enumerate(parameters)
        if name in names
    }
    assert set(shares.gradient) == set(names)
    assert not any(bool(g.any()) for g in shares.gradient.values())
    whole = torch.stack([g.norm() for g in each.values()]).norm()
    for seed in (1, 2):
        w = torch.rand(units, generator=torch.Generator().manual_seed(seed)).double() - 0.2
        at = shares.gradient_at(w)
        for name in names:
            expected = torch.einsum("u,u...->...", w.to(each[name].dtype), each[name]) / units
            error = torch.linalg.vector_norm(at[name] - expected)
            assert float(error) <= tolerance * float(torch.linalg.vector_norm(expected) + 1e-3 * whole), name
    for seed in (1, 2):
        torch.manual_seed(seed)
        direction = {name: torch.randn_like(p) for name, p in parameters.items()}
        if seed == 2:  # half of them only
            direction = {name: u for n, (name, u) in enumerate(direction.items()) if n % 2 or n == 0}
        terms = [(each[n].conj() * u).real.flatten(1).sum(1) for n, u in direction.items() if n in each]
        expected = torch.stack(terms).sum(0)
        assert float(expected.abs().max()) > 1e-8
        assert relative(shares.slopes(direction), expected) <= tolerance
    return shares, recorded
