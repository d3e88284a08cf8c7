"""Small parameters that move together: the same step, to the last bit, and the same slopes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from metaweight.engines.inner import packs
from metaweight.engines.inner.base import InnerStep

SHAPES = [(3,), (7, 5), (1,), (2, 3, 4), (64,), (33,), ()]
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "asgd": lambda p: torch.optim.ASGD(p, lr=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "nadam": lambda p: torch.optim.NAdam(p, lr=1e-2),
    "radam": lambda p: torch.optim.RAdam(p, lr=1e-2),
    "adamax": lambda p: torch.optim.Adamax(p, lr=1e-2),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-2, momentum=0.5),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2),
    "adadelta": lambda p: torch.optim.Adadelta(p),
}


def parameters(dtype: torch.dtype = torch.float32) -> dict[str, nn.Parameter]:
    g = torch.Generator().manual_seed(0)
    return {
        str(n): nn.Parameter(torch.randn(shape, generator=g, dtype=dtype)) for n, shape in enumerate(SHAPES)
    }


def warm(optimizer: torch.optim.Optimizer, steps: int) -> None:
    g = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.randn(p.shape, generator=g, dtype=p.dtype)
        optimizer.step()


def together(optimizer: torch.optim.Optimizer, live: dict[str, nn.Parameter]) -> list[list[str]]:
    gradients = {name: torch.zeros_like(p) for name, p in live.items()}
    return InnerStep.of(optimizer, live).successors({n: p.detach() for n, p in live.items()}, gradients)[1]


@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_pack_moves_as_its_parameters_do_one_by_one(name: str, dtype: torch.dtype, steps: int) -> None:
    live = parameters(dtype)
    optimizer = OPTIMIZERS[name](live.values())
    warm(optimizer, steps)
    step = InnerStep.of(optimizer, live)
    here = {name: p.detach() for name, p in live.items()}
    g = torch.Generator().manual_seed(2)
    gradients = {n: torch.randn(p.shape, generator=g, dtype=dtype).requires_grad_() for n, p in live.items()}
    packed, groups = step.successors(here, gradients)
    apart, _ = step(here, gradients)
    assert (len(groups) < len(SHAPES)) == (name not in ("asgd", "nadam") or steps == 0)
    for n, value in apart.items():
        assert torch.equal(packed[n], value), (n, (packed[n] - value).abs().max())
        assert packed[n].shape == value.shape
    pull = {n: torch.cos(value.detach()) for n, value in apart.items()}
    slopes = [
        torch.autograd.grad([moved[n] for n in moved], list(gradients.values()), [pull[n] for n in moved])
        for moved in (packed, apart)
    ]
    for one, other in zip(*slopes, strict=True):
        assert torch.equal(one, other)


def test_what_moves_in_another_way_is_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    live = parameters()
    names = list(live)
    assert together(OPTIMIZERS["adam"](live.values()), live) == [names[:-1], names[-1:]]  # a number by itself
    two = torch.optim.Adam(
        [{"params": [live["0"], live["1"]]}, {"params": [live["2"], live["3"]], "lr": 0.5}]
    )
    held = {name: live[name] for name in names[:4]}
    assert together(two, held) == [["0", "1"], ["2", "3"]]
    late = OPTIMIZERS["adam"](list(held.values()))
    for name in names[:2]:
        live[name].grad = torch.ones_like(live[name])
    late.step()  # the others are behind by a step
    assert together(late, held) == [["0", "1"], ["2", "3"]]
    turned = {**held, "1": nn.Parameter(torch.zeros(5, 7).T)}
    assert together(OPTIMIZERS["sgd"](turned.values()), turned) == [["0"], ["1"], ["2", "3"]]
    empty = {**held, "1": nn.Parameter(torch.zeros(0, 5))}
    assert together(OPTIMIZERS["sgd"](empty.values()), empty) == [["0"], ["1"], ["2", "3"]]
    maximized = torch.optim.Adam(held.values(), maximize=True)
    assert together(maximized, held) == [[name] for name in held]
    monkeypatch.setattr(packs, "PACK", 40)  # a parameter is small with 20 numbers
    assert together(OPTIMIZERS["adam"](live.values()), live) == [
        ["0"],
        ["1"],
        ["2"],
        ["3"],
        ["4"],
        ["5"],
        ["6"],
    ]
    monkeypatch.setattr(packs, "PACK", 75)
    assert together(OPTIMIZERS["adam"](live.values()), live)[0] == ["0", "1", "2", "3"]
