"""The dual pass takes over layers' outputs: the same slopes, fewer products, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import metaweight as mw
from metaweight.engines.forward import ForwardMode
from metaweight.student.execution import LayerOutputs


class InPlace(nn.Module):
    """Changes a linear layer's output in place before it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        hidden.mul_(2).tanh_()
        return self.last(hidden)


class Twice(nn.Module):
    """Calls one layer twice, on a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.last = nn.Linear(3, 3), nn.Linear(3, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        sequence = torch.stack([x, x.square()], dim=1)
        return self.last(input=self.inside(self.inside(sequence).tanh()).tanh()).sum(dim=1)


class Scale(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1.5


class Cube(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x**3


def parametrised() -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    nn.utils.parametrize.register_parametrization(module[0], "weight", Cube())
    return module


def partly_frozen(names: set[str]) -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name not in names)
    return module


def convolutional(*layers: nn.Module, moving: str = "") -> nn.Module:
    """On vectors of 3 made images of 3 channels; the parameters whose name has ``moving`` are trained."""
    front = nn.Unflatten(1, (3, 1)), nn.Linear(1, 36), nn.Unflatten(2, (6, 6))
    module = nn.Sequential(*front, *layers, nn.Flatten(), nn.LazyLinear(2))
    module(torch.zeros(2, 3))
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(moving in name)
    return module


def two_convolutions(**options: object) -> nn.Module:
    second = nn.Conv2d(6, 4, 3, **options)
    return convolutional(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Tanh(), second, nn.Tanh())


MODULES: dict[str, Callable[[], nn.Module]] = {
    "in-place": InPlace,
    "twice": Twice,
    "frozen-below": lambda: partly_frozen({"0.weight", "0.bias"}),
    "bias-alone": lambda: partly_frozen({"0.weight", "2.weight"}),
    "frozen-inside": lambda: partly_frozen({"2.weight", "2.bias"}),
    "parametrised": parametrised,
    "convolutions": lambda: two_convolutions(stride=2, padding=1, bias=False),
    "groups-dilation": lambda: two_convolutions(groups=2, dilation=2),
    "padding-same": lambda: two_convolutions(padding="same"),
    "padding-circular": lambda: two_convolutions(padding=1, padding_mode="circular"),
    "convolution-bias-alone": lambda: convolutional(
        nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 2, 3), nn.Tanh(), moving="5.bias"
    ),
    "convolution-1d": lambda: convolutional(nn.Flatten(2), nn.Conv1d(3, 4, 5), nn.Tanh()),
    "dropout": lambda: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.4), nn.Tanh(), nn.Linear(8, 2)),
}


def batch(size: int, seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 3, generator=g).double()
    return mw.Batch((x,), torch.randint(2, (size,), generator=g), torch.arange(size))


def slopes(module: nn.Module, engine: str | ForwardMode) -> Tensor:
    student = mw.Student(module)
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.3, momentum=0.5)
    weights = torch.linspace(0.2, 1.7, 6).double().requires_grad_()
    torch.manual_seed(5)
    result = mw.hypergradient(
        student, optimizer, batch(6, 1), batch(5, 2), lambda _state: weights, [weights], engine
    )
    return result.grads[0]


@pytest.mark.parametrize("case", MODULES)
def test_slopes_equal_those_of_higher(case: str) -> None:
    torch.manual_seed(0)
    module = MODULES[case]().double()
    expected = slopes(module, "higher")
    assert float(expected.abs().max()) > 1e-6
    for engine in (ForwardMode(), ForwardMode(keep_convolutions=True)):
        torch.testing.assert_close(slopes(module, engine), expected, rtol=1e-9, atol=1e-12)
        assert not any("forward" in vars(part) for part in module.modules())


def test_hooks_still_change_what_a_layer_gives() -> None:
    torch.manual_seed(0)
    layers = nn.Linear(3, 5).double(), nn.Linear(5, 2).double()
    written = nn.Sequential(layers[0], Scale(), nn.Tanh(), layers[1])
    expected = slopes(written, "higher")  # whose copies have no hooks
    hooked = nn.Sequential(layers[0], nn.Tanh(), layers[1])
    layers[0].register_forward_hook(lambda _module, _inputs, output: output * 1.5)
    torch.testing.assert_close(slopes(hooked, "forward"), expected, rtol=1e-9, atol=1e-12)


def flops(module: nn.Module, x: Tensor, outputs: LayerOutputs | None) -> int:
    """Of a pass of dual numbers in the parameters alone."""
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    with torch.autograd.forward_ad.dual_level(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        dual = {
            name: torch.autograd.forward_ad.make_dual(p, torch.ones_like(p)) for name, p in parameters.items()
        }
        if outputs is None:
            torch.func.functional_call(module, dual, x)
        else:
            with outputs.replayed():
                torch.func.functional_call(module, dual, x)
    return counter.get_total_flops()


def test_a_replayed_dual_pass_spares_one_product_a_layer() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    x = torch.randn(10, 8)
    outputs = LayerOutputs(module)
    with outputs.recorded():
        module(x)
    one, two = 2 * 10 * 8 * 16, 2 * 10 * 16 * 4
    assert flops(module, x, None) == 3 * (one + two)
    # x carries no tangent: one product in the first layer, two in the second
    assert flops(module, x, outputs) == one + 2 * two


def test_convolutions_spare_one_product_until_they_are_forgotten() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3))
    x = torch.randn(5, 2, 8, 8)
    one, two = 2 * 5 * 36 * 2 * 4 * 9, 2 * 5 * 16 * 4 * 3 * 9
    outputs = LayerOutputs(module)
    with outputs.recorded():
        module(x)
    assert flops(module, x, outputs) == one + 2 * two
    outputs.forget_convolutions()
    assert flops(module, x, outputs) == flops(module, x, None) == 3 * (one + two)


@pytest.mark.parametrize(("schedule", "spared"), [("lookahead", True), ("online", False)])
def test_convolutions_are_kept_while_the_train_graph_is(schedule: str, spared: bool, monkeypatch) -> None:
    forgotten: list[LayerOutputs] = []
    monkeypatch.setattr(LayerOutputs, "forget_convolutions", lambda self: forgotten.append(self))
    module = two_convolutions().double()
    student = mw.Student(module)
    teacher = mw.build_teacher("mw-net", spec=student.spec(batch(6, 1))).double()
    reweighter = mw.Reweighter(
        student,
        teacher,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        teacher_optimizer=torch.optim.Adam(teacher.parameters()),
        engine="forward",
        schedule=schedule,
    )
    for _ in range(3):  # the first two batches are checked, for which the graph is kept
        reweighter.step(batch(6, 1), batch(5, 2))
    assert bool(forgotten) is not spared


def test_in_place_changes_between_the_passes_are_seen() -> None:
    torch.manual_seed(0)
    module = InPlace()
    outputs = LayerOutputs(module)
    with outputs.recorded(), torch.no_grad():
        first = module(torch.ones(2, 3))
    with outputs.replayed(), torch.no_grad():
        again = module(torch.ones(2, 3))
    torch.testing.assert_close(again, first, rtol=0, atol=0)


def test_layers_are_as_before_after_an_error() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(7, 1))  # do not fit
    with pytest.raises(RuntimeError), LayerOutputs(module).recorded():
        module(torch.ones(1, 3))
    assert not any("forward" in vars(part) for part in module)
