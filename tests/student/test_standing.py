"""A module on other parameters and buffers, as torch's ``functional_call`` does it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from metaweight.student.standing import standing_on


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.out = nn.Linear(3, 5)
        self.out.weight = self.embed.weight  # tied
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("late", None)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.seen + 1  # assigned anew
        return self.out(self.norm(self.embed(x)))


def others(module: nn.Module) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(1)
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {
        name: torch.rand(value.shape, generator=g) if value.is_floating_point() else value.clone()
        for name, value in named.items()
    }


def test_outputs_and_what_stands_there_afterwards_are_those_of_functional_call() -> None:
    torch.manual_seed(0)
    module, x = Net(), torch.tensor([0, 3, 1])
    live = {
        name: (value, value.detach().clone()) for name, value in module.state_dict(keep_vars=True).items()
    }
    mine, reference = others(module), others(module)
    seen = reference["seen"]
    expected = functional_call(module, reference, (x,))
    assert torch.equal(standing_on(module, mine, lambda: module(x)), expected)
    assert mine.keys() == reference.keys()
    for name, value in mine.items():
        assert torch.equal(value, reference[name])
    assert mine["seen"] == seen + 1
    for name, value in module.state_dict(keep_vars=True).items():
        assert value is live[name][0]
        assert torch.equal(value, live[name][1])


def test_a_shared_parameter_is_another_wherever_it_is() -> None:
    module = Net()
    given = torch.zeros(5, 3)
    for name in ("embed.weight", "out.weight"):
        here = standing_on(module, {name: given}, lambda: (module.embed.weight, module.out.weight))
        assert here[0] is here[1] is given
    assert module.embed.weight is module.out.weight is not given


def test_a_buffer_that_goes_in_the_call_is_back_afterwards() -> None:
    module = Net()
    live, weight = module.seen, module.embed.weight
    values = {"embed.weight": torch.zeros(5, 3), "seen": torch.ones(())}
    standing_on(module, values, lambda: module.__delattr__("seen"))
    assert module.seen is live
    assert module.embed.weight is weight
    assert values["seen"] == 1


def test_an_error_inside_leaves_the_module_as_it_was() -> None:
    module = Net()
    weight = module.embed.weight
    with pytest.raises(ZeroDivisionError):
        standing_on(module, {"embed.weight": torch.zeros(5, 3), "late": torch.ones(())}, lambda: 1 / 0)
    assert module.embed.weight is weight
    assert module.late is None
    with pytest.raises(KeyError, match=r"no\.such"):
        standing_on(module, {"embed.weight": torch.zeros(5, 3), "no.such": weight}, lambda: None)
    assert module.embed.weight is weight
