"""The compiled dual pass takes over what the compiled train pass gave: the same slopes, fewer products."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch
from slowly import slowly
from torch import Tensor, fx, nn

import metaweight as mw
from metaweight.engines.forward import ForwardMode
from metaweight.student.directional import directional
from metaweight.student.execution import Execution
from metaweight.student.execution.dual_graph import DualGraph
from metaweight.student.execution.layer_outputs import unchanged_layers

COMPILED = Execution(compile="aot_eager")


class Residual(nn.Module):
    """One convolution, called twice, whose second output is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.again(self.first(x).tanh()).tanh())
        return self.head(x.mul_(2).tanh().mean(dim=(2, 3)))


def rectified() -> nn.Module:
    """Convolutions whose outputs a ReLU overwrites, or not."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, stride=2, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.LazyLinear(2),
    )


MODULES: dict[str, Callable[[], nn.Module]] = {"residual": Residual, "rectified": rectified}
UNCHANGED = {"residual": ["first"], "rectified": ["2"]}
"""Layers whose outputs nothing changes; the last one's is the module's own, which a loss may change."""


def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    module = MODULES[name]()
    module(torch.zeros(2, 1, 7, 7))
    return module.double()


def batch(size: int, seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 1, 7, 7, generator=g).double()
    return mw.Batch((images,), torch.randint(2, (size,), generator=g), torch.arange(size))


def slopes(student: mw.Student, engine: ForwardMode | str) -> Tensor:
    optimizer = torch.optim.SGD(student.module.parameters(), lr=0.3, momentum=0.5)
    w = torch.linspace(0.2, 1.7, 6).double().requires_grad_()
    torch.manual_seed(5)
    return mw.hypergradient(student, optimizer, batch(6, 1), batch(5, 2), lambda _: w, [w], engine).grads[0]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, list[Tensor]]]:
    """What every dual pass was given of the train pass."""
    seen: list[dict[str, list[Tensor]]] = []
    whole = DualGraph.__call__

    def spy(self: DualGraph, *arguments: object) -> object:
        seen.append(arguments[-1])
        return whole(self, *arguments)

    monkeypatch.setattr(DualGraph, "__call__", spy)
    return seen


@pytest.mark.parametrize("name", ["residual", *slowly(*(name for name in MODULES if name != "residual"))])
@pytest.mark.parametrize("keep", [True, *slowly(False)])
def test_slopes_are_those_of_an_eager_student(name: str, keep: bool, graphs: list) -> None:
    module = built(name)
    student = mw.Student(module, execution=COMPILED)
    engine = ForwardMode(keep_convolutions=keep)
    found = slopes(student, engine)
    torch.testing.assert_close(found, slopes(mw.Student(module), "higher"), rtol=1e-9, atol=1e-12)
    assert float(found.abs().min()) > 1e-6
    for _ in range(2):  # the first two batches are checked, for which the graph is kept
        slopes(student, engine)
    assert list(graphs[-1]) == (UNCHANGED[name] if keep else [])
    again = slopes(student, ForwardMode(keep_convolutions=keep))
    torch.testing.assert_close(again, found, rtol=0, atol=0)


@pytest.mark.parametrize("name", MODULES)
def test_layers_whose_outputs_are_changed_are_not_among_the_kept(name: str) -> None:
    module, x = built(name), batch(3, 1).inputs[0]
    assert unchanged_layers(module, lambda: module(x)) == UNCHANGED[name]


def test_a_pass_that_needs_values_keeps_nothing() -> None:
    class Looks(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if bool(x.sum() > 0) else x

    module = nn.Sequential(nn.Linear(2, 2), Looks(2, 2)).to("meta")
    assert unchanged_layers(module, lambda: module(torch.ones(1, 2, device="meta"))) == []


def test_the_dual_pass_leaves_the_running_statistics() -> None:
    module = built("rectified")
    student = mw.Student(module, execution=COMPILED)
    values = {name: p.detach() for name, p in module.named_parameters()}
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    directional(student, batch(6, 1), values, values, buffers)
    for name, value in module.named_buffers():
        torch.testing.assert_close(buffers[name], value, rtol=0, atol=0)


@pytest.mark.slow
def test_another_mode_of_the_module_has_a_graph_of_its_own() -> None:
    module = built("rectified")
    student = mw.Student(module, execution=COMPILED)
    engine = ForwardMode(keep_convolutions=True)
    trained = slopes(student, engine)
    module.eval()
    expected = slopes(mw.Student(module), "higher")
    torch.testing.assert_close(slopes(student, engine), expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(trained, expected)


@pytest.mark.slow
def test_every_student_is_compiled_once_for_a_kind_of_pass(seen: list[fx.GraphModule]) -> None:
    train = batch(6, 1)
    for number in range(1, 12):  # more than the entries that torch keeps for one piece of code
        student = mw.Student(built("residual"), taps=("first",), execution=Execution(compile="seeing"))
        for _ in range(3):
            student(train)
        assert len(seen) == number
    with torch.no_grad():
        student(train)
        student(train)
    assert len(seen) == number + 1
    student(batch(5, 1))
    assert len(seen) == number + 2


def test_a_pass_leaves_no_activation_behind(seen: list[fx.GraphModule]) -> None:
    student = mw.Student(built("residual"), taps=("first",), execution=Execution(compile="seeing"))
    student(batch(6, 1))
    gc.collect()
    convolved = [t for t in gc.get_objects() if type(t) is Tensor and t.shape == (6, 3, 7, 7)]
    assert not convolved
