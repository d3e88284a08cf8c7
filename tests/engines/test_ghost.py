"""Engine ``ghost``: each layer's rule, and the gradient at other weights."""

from __future__ import annotations

import pytest
import torch
from ghost_parts import LAYERS, UNITS, Parts, build, shares, slopes, words
from torch import Tensor, nn

from metaweight.testing.oracles import relative

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@pytest.mark.parametrize("case", LAYERS)
def test_slopes_equal_those_of_higher(case: str) -> None:
    module = build(LAYERS[case])
    before = {name: b.clone() for name, b in module.named_buffers()}
    expected = slopes(module, "higher")
    assert float(expected.abs().min()) > 1e-7
    assert relative(slopes(module, "ghost"), expected) <= 1e-9
    assert not any("forward" in vars(part) for part in module.modules())
    assert all(torch.equal(before[name], b) for name, b in module.named_buffers())


@pytest.mark.parametrize("case", LAYERS)
def test_gradient_at_any_weights_equals_autograd(case: str) -> None:
    """First weights of 0, as L2RW has them, lose nothing of what comes after."""
    module = build(LAYERS[case])
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    ours, loss, _ = shares(module, torch.zeros(UNITS).double())
    assert all(not bool(g.any()) for g in ours.gradient.values())
    for seed in (1, 2):
        w = torch.rand(UNITS, generator=torch.Generator().manual_seed(seed)).double() - 0.2
        expected = torch.autograd.grad((w * loss).mean(), list(parameters.values()), retain_graph=True)
        found = ours.gradient_at(w)
        assert set(found) == set(parameters)
        for name, value in zip(parameters, expected, strict=True):
            torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("case", LAYERS)
def test_slopes_are_per_sample_gradients_times_a_direction(case: str) -> None:
    """Any direction, also where no gradient can point: at an embedding's padding."""
    module = build(LAYERS[case])
    parameters = dict(module.named_parameters())
    ours, loss, _ = shares(module, torch.ones(UNITS).double())
    direction = {name: torch.randn_like(p) for name, p in parameters.items()}
    expected = [
        sum(
            (g * direction[name]).sum()
            for name, g in zip(
                parameters,
                torch.autograd.grad(one, list(parameters.values()), retain_graph=True),
                strict=True,
            )
        )
        for one in loss
    ]
    torch.testing.assert_close(ours.slopes(direction), torch.stack(expected), rtol=1e-11, atol=1e-14)


def test_what_the_optimizer_does_not_hold_and_what_is_out_of_scope_is_left_out() -> None:
    module = build(LAYERS["tied"])
    moved = [module.norm.weight, module.head.bias]
    assert relative(slopes(module, "ghost", moved=moved), slopes(module, "higher", moved=moved)) <= 1e-9
    narrow = {"scope": ["norm", "head"]}
    assert relative(slopes(module, "ghost", **narrow), slopes(module, "forward", **narrow)) <= 1e-9
    module.table.requires_grad_(False)
    assert relative(slopes(module, "ghost"), slopes(module, "higher")) <= 1e-9


def test_hooks_change_what_a_layer_gives_after_its_rule() -> None:
    module = build(LAYERS["linear-wide"])
    module.a.register_forward_pre_hook(lambda _m, inputs: (inputs[0] * 2,))
    module.a.register_forward_hook(lambda _m, _i, output: output * 1.5)
    assert relative(slopes(module, "ghost"), slopes(module, "forward")) <= 1e-9


def test_a_pass_with_autocast_is_near_the_one_in_full_precision() -> None:
    def inside(m: Parts, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            hidden = m.norm(m.table(words(x)) + m.b(x.flatten(1))[:, None])
            return m.a(hidden.tanh()).mean(1).float()

    layers = {"table": nn.Embedding(7, 8), "b": nn.Linear(48, 8), "norm": nn.LayerNorm(8)}
    module = build(lambda: Parts(inside, **layers, a=nn.Linear(8, 5)), torch.float32)
    ours, exact = (slopes(module, engine, torch.float32) for engine in ("ghost", "higher"))
    assert relative(ours, exact) <= 3e-2
