"""Rules for users' own layers: filed, used, and proven or found wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from ghost_parts import UNITS, Parts, batch, flat
from ghost_proof import prove
from torch import Tensor, nn

import metaweight as mw
from metaweight.engines import EngineError, register_layer_rule
from metaweight.engines.ghost import LinearWeight, PerUnit, Rows
from metaweight.engines.ghost.layers import OWN_RULES
from metaweight.testing import ContractError, check_layer_rule


class Scaled(nn.Module):
    """Normalises the last dimension, scales it, and goes through a linear layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.linspace(0.5, 1.5, 4))
        self.body = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(F.normalize(x, dim=-1) * self.factor)


Wrong = Callable[[str, Tensor], Tensor]


def rule_of_scaled(spoilt: Wrong = lambda _name, value: value) -> Callable[..., Iterator[object]]:
    def rule(layer: Scaled, input: Tensor, delta: Tensor, units: int) -> Iterator[object]:
        normed = F.normalize(input, dim=-1)
        inside = (normed * layer.factor).reshape(-1, 4)
        flat = delta.reshape(-1, 6)
        through = (flat @ layer.body.weight).view(normed.shape) * normed
        yield "factor", lambda: PerUnit(spoilt("factor", through.reshape(units, -1, 4).sum(1)))
        yield "body.weight", lambda: LinearWeight(spoilt("input", inside), flat, Rows(1, units))
        yield "body.bias", lambda: PerUnit(spoilt("bias", delta.reshape(units, -1, 6).sum(1)))

    return rule


@pytest.fixture(autouse=True)
def no_rules_left() -> Iterator[None]:
    before = dict(OWN_RULES)
    yield
    OWN_RULES.clear()
    OWN_RULES.update(before)


def test_a_rule_that_is_right_is_proven_and_used() -> None:
    calls: list[int] = []

    @register_layer_rule(Scaled)
    def rule(layer: Scaled, input: Tensor, delta: Tensor, units: int) -> Iterator[object]:
        calls.append(units)
        yield from rule_of_scaled()(layer, input, delta, units)

    check_layer_rule(Scaled(), torch.randn(6, 3, 4))
    assert calls == [6, 3]
    module = Parts(lambda m, x: flat(m.a(x).tanh()), a=Scaled()).double()
    x = batch(UNITS, 1).inputs[0]
    prove(module, (x,), lambda outputs, _t: outputs.sin().sum(1))
    assert calls == [6, 3, UNITS]
    OWN_RULES.clear()  # without it the operations are followed, and give the same
    prove(module, (x,), lambda outputs, _t: outputs.sin().sum(1))
    assert calls == [6, 3, UNITS]


def only(name: str, change: Callable[[Tensor], Tensor]) -> Wrong:
    return lambda slot, value: change(value) if slot == name else value


SPOILT: dict[str, tuple[Wrong, str]] = {
    "a factor": (only("factor", lambda v: v * 1.001), r"gradient\(scale\) of 'factor' is off by 1.0e-03"),
    "another unit's": (only("bias", lambda v: v.flip(0)), r"gradient\(scale\) of 'body.bias' is off"),
    "an input": (only("input", torch.tanh), r"gradient\(scale\) of 'body.weight' is off"),
    "a shape": (only("bias", lambda v: v[:, :5]), r"of 'body.bias' has shape \(5,\), it is \(6,\)"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_rule_that_is_wrong_is_found_out(case: str) -> None:
    spoilt, message = SPOILT[case]
    register_layer_rule(Scaled)(rule_of_scaled(spoilt))
    with pytest.raises(ContractError, match=message):
        check_layer_rule(Scaled(), torch.randn(6, 3, 4))


class WrongSlopes(PerUnit):
    def slopes(self, u: Tensor) -> Tensor:
        return 2 * super().slopes(u)


def names(*slots: str) -> Callable[..., Iterator[object]]:
    def rule(layer: Scaled, input: Tensor, delta: Tensor, units: int) -> Iterator[object]:
        return (slot for slot in rule_of_scaled()(layer, input, delta, units) if slot[0] in slots)

    return rule


def unknown(layer: Scaled, input: Tensor, delta: Tensor, units: int) -> Iterator[object]:
    yield "scale", lambda: PerUnit(delta.reshape(units, -1, 6).sum(1))


def twice(layer: Scaled, input: Tensor, delta: Tensor, units: int) -> Iterator[object]:
    yield from rule_of_scaled()(layer, input, delta, units)
    yield from rule_of_scaled()(layer, input, delta, units)


def wrong_slopes(layer: Scaled, input: Tensor, delta: Tensor, units: int) -> Iterator[object]:
    yield from names("factor", "body.weight")(layer, input, delta, units)
    yield "body.bias", lambda: WrongSlopes(delta.reshape(units, -1, 6).sum(1))


def in_place(layer: Scaled, input: Tensor, delta: Tensor, units: int) -> Iterator[object]:
    yield from list(rule_of_scaled()(layer, input, delta, units))
    delta.neg_()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (names("factor", "body.bias"), r"says nothing about \['body.weight'\]"),
        (unknown, r"the rule names \['scale'\], the layer's parameters are \['body.bias', 'body.weight'"),
        (twice, "names a parameter twice"),
        (wrong_slopes, r"slopes\(u\) of 'body.bias' is off by 1.0e\+00 of itself"),
        (in_place, "the rule changes its input or its delta in place"),
    ],
)
def test_what_else_can_be_wrong(rule: Callable[..., Iterator[object]], message: str) -> None:
    register_layer_rule(Scaled)(rule)
    with pytest.raises(ContractError, match=message):
        check_layer_rule(Scaled(), torch.randn(6, 3, 4))


def test_a_wrong_rule_does_not_pass_in_training_either() -> None:
    register_layer_rule(Scaled)(rule_of_scaled(only("factor", lambda v: v * 1.001)))
    module = Parts(lambda m, x: flat(m.a(x).tanh()), a=Scaled()).double()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    student = mw.Student(module, loss=lambda outputs, _t: outputs.sin().sum(1))
    w = torch.ones(UNITS).double().requires_grad_()
    one = batch(UNITS, 1)
    with pytest.raises(EngineError, match=r"its gradient of 'a.factor' of 'a' \(Scaled\) is off by 1.0e-03"):
        mw.hypergradient(student, optimizer, one, one, lambda _s: w, [w], "ghost")


def test_what_cannot_be_filed() -> None:
    with pytest.raises(TypeError, match=r"register_layer_rule\(MyLayer\)"):
        register_layer_rule(Scaled())
    with pytest.raises(ValueError, match="has a rule for Linear already"):
        register_layer_rule(nn.Linear)(rule_of_scaled())
    with pytest.raises(ContractError, match=r"no rule is filed for Scaled"):
        check_layer_rule(Scaled(), torch.randn(6, 3, 4))
