"""Students, data and optimizers whose steps cannot be taken again, each with what is said of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from students import OwnRandom, Unrepeatable
from torch import Tensor, nn
from whole_runs import Case, Rows, case, mlp, rows

import metaweight as mw
from metaweight.core.contracts import MetaweightError
from metaweight.influence import InfluenceWarning, MismatchError
from metaweight.student.execution.execution import Execution

NOISE = torch.Generator().manual_seed(1)


class Noisy(torch.autograd.Function):
    """The identity, whose backward adds as a kernel with atomics does: a little otherwise each time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (1 + 1e-9 * torch.rand(1, dtype=gradient.dtype, generator=NOISE))


class Atomics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(16, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(Noisy.apply(torch.tanh(self.first(x))))


def of(build: Callable[[], nn.Module], shape: tuple[int, ...] = (16,), **options: Any) -> Case:
    return Case(build, Rows(rows(shape, 24, 3)), rows(shape, 5, 4), **{"epochs": 2, **options})


@pytest.mark.parametrize(
    ("built", "said"),
    [
        (of(OwnRandom, (3, 8)), "a pass of the student changes generator, which is neither"),
        (of(Unrepeatable, (3, 8)), "this run cannot be taken again. Two passes .* give other losses"),
        (of(Atomics), r"cannot be taken again. Two steps .* end apart, in the parameter 'first.weight'"),
    ],
    ids=["own generator", "the system's", "atomics"],
)
def test_students_that_cannot_take_a_step_again(built: Case, said: str) -> None:
    with pytest.raises(MetaweightError, match=said):
        built.recorded().record()


def test_a_kernel_that_adds_in_an_order_of_its_own_is_gone_back_through_on_request() -> None:
    built = of(Atomics)
    steady = of(lambda: nn.Sequential(nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 3)))
    run = built.recorded(on_difference="recorded")
    with pytest.warns(
        InfluenceWarning, match=r"parts of the run, taken again, ended elsewhere than recorded"
    ):
        found = run.influence(built.meta)
    torch.testing.assert_close(
        found.values, steady.recorded().influence(steady.meta).values, rtol=1e-5, atol=1e-8
    )


def test_how_far_off_the_parts_were_is_still_known_when_another_process_goes_on(tmp_path: Path) -> None:
    built = of(Atomics)
    for _ in range(2):
        run = built.recorded(on_difference="recorded", folder=tmp_path)
        with pytest.warns(InfluenceWarning, match="3 of 3 parts of the run"):
            run.influence(built.meta)


def test_a_kernel_that_is_steady_in_the_first_step_is_found_on_the_way_back() -> None:
    class Later(Atomics):
        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.tanh(self.first(x))
            return self.head(Noisy.apply(hidden) if float(x.detach().sum()) > 0 else hidden)

    built = of(Later)
    assert float(built.source.batch(0, 0).args[0].sum()) < 0
    with pytest.raises(MismatchError, match=r"Two steps from one and the same point end apart"):
        built.recorded().influence(built.meta)


class Clocked(torch.optim.SGD):
    """Its steps depend on when they are taken."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.mul_(1 + time.perf_counter() % 1)
        return super().step(closure)


def test_an_optimizer_that_looks_at_the_clock() -> None:
    built = mlp(epochs=2)
    start = built.start

    def clocked() -> Any:
        module, _ = start()
        return module, Clocked(module.parameters(), lr=0.1)

    built.start = clocked  # type: ignore[method-assign]
    with pytest.raises((TypeError, ValueError), match="Clocked"):
        built.recorded()


def test_hooks_of_optimizers_and_gradients_are_refused() -> None:
    built = mlp(epochs=1)
    start = built.start

    def hooked() -> Any:
        module, optimizer = start()
        optimizer.register_step_pre_hook(lambda *_: None)
        return module, optimizer

    built.start = hooked  # type: ignore[method-assign]
    with pytest.raises((TypeError, ValueError), match="hook"):
        built.recorded()
    built = mlp(epochs=1)

    def on_gradient() -> nn.Module:
        module = nn.Linear(16, 3).double()
        module.weight.register_hook(lambda g: 2 * g)
        return module

    built.build = on_gradient
    with pytest.raises(MetaweightError, match="a hook on the parameter 'weight'"):
        built.recorded()


def test_a_forward_hook_is_a_part_of_the_student() -> None:
    built = mlp(epochs=1)
    plain = built.build

    def hooked() -> nn.Module:
        module = plain()
        module[0].register_forward_hook(lambda _m, _i, out: 1.5 * out)  # type: ignore[index]
        return module

    def written() -> nn.Module:
        module = plain()
        module[0].forward = lambda x: 1.5 * x.flatten(1)  # type: ignore[index, method-assign, assignment]
        return module

    ours, theirs = replace(built, build=hooked), replace(built, build=written)
    assert torch.equal(
        ours.recorded().influence(built.meta).values, theirs.recorded().influence(built.meta).values
    )


def test_a_compiled_student_is_refused() -> None:
    built = mlp(epochs=1)
    module, optimizer = built.start()
    student = mw.Student(module, execution=Execution(compile="eager"))
    with pytest.raises(MetaweightError, match="compile"):
        mw.WholeRun(student, built.source, optimizer, epochs=1)
    plain = built.build
    built.build = lambda: torch.compile(plain(), backend="eager")  # type: ignore[assignment, return-value]
    with pytest.raises(ValueError, match="the student is compiled"):
        built.recorded()


class Drawing(Rows):
    """Inputs with noise from a global generator, of torch or of NumPy."""

    def __init__(self, whole: mw.Batch, library: str) -> None:
        super().__init__(whole)
        self.library = library

    def batch(self, epoch: int, position: int) -> mw.Batch:
        plain = super().batch(epoch, position)
        x = plain.args[0]
        if self.library == "torch":
            noise = torch.randn(x.shape, dtype=x.dtype)
        else:
            noise = torch.from_numpy(np.random.standard_normal(x.shape))
        return mw.Batch((x + 0.3 * noise,), plain.targets, plain.index)


def test_data_may_draw_from_the_global_generator_of_torch(tmp_path: Path) -> None:
    """Where nothing but the steps draws from it, a run is that of a loop, and may be taken again."""
    built = case("words-dropout", optimizer="adam", epochs=3)
    built.source = Drawing(built.source.whole, "torch")
    run = built.recorded(folder=tmp_path)
    found = run.influence(built.meta)
    there = built.written_out(torch.ones(24, dtype=torch.float64)).state_dict()
    assert all(torch.equal(v, there[name]) for name, v in run.student.module.state_dict().items())
    assert torch.equal(built.recorded(folder=tmp_path).influence(built.meta).values, found.values)


def test_data_that_draw_from_another_one_are_named() -> None:
    built = mlp(epochs=2)
    built.source = Drawing(built.source.whole, "numpy")
    with pytest.raises(MismatchError, match="or the data draw random numbers outside torch's global gen"):
        built.recorded().influence(built.meta)


def test_a_buffer_that_passes_move_and_nobody_knows_the_slope_of() -> None:
    class Moving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(16, 3)
            self.mean: Tensor
            self.register_buffer("mean", torch.zeros(16))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.mean.lerp_(x.detach().mean(0), 0.1)
            return self.head(x - self.mean)

    with pytest.raises(MetaweightError, match=r"passes move 'mean'.*only running statistics of BatchNorm"):
        of(Moving).recorded().influence(of(Moving).meta)


@pytest.mark.parametrize("option", ["dropout", "loss"])
def test_other_options_of_the_student_are_guessed(option: str, tmp_path: Path) -> None:
    built = case("words-dropout", epochs=2)
    built.recorded(folder=tmp_path).record()
    other = replace(built)
    if option == "dropout":
        plain = built.build

        def less() -> nn.Module:
            module = plain()
            module.dropout.p = 0.1  # type: ignore[union-attr]
            return module

        other.build = less
    else:
        other.loss = lambda outputs, targets: F.cross_entropy(
            outputs, targets, reduction="none", label_smoothing=0.1
        )
    with pytest.raises(MismatchError, match=r"step 7 of 8 .*the student or its loss has other options"):
        other.recorded(folder=tmp_path).influence(built.meta)


def test_what_is_another_in_the_surroundings_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = case("words-dropout", epochs=2)
    monkeypatch.setattr("metaweight.influence.recording.surroundings", lambda: {"torch": "1.0"})
    monkeypatch.setattr("metaweight.influence.record.surroundings", lambda: {"torch": "1.0"})
    run = built.recorded(folder=tmp_path)
    run.recording.log.surroundings = {"torch": "1.0"}
    run.record()
    other = replace(
        built, loss=lambda out, targets: 1.0000001 * F.cross_entropy(out, targets, reduction="none")
    )
    with pytest.raises(MismatchError, match=r"Since then torch was 1.0, is .*Go back to that"):
        other.recorded(folder=tmp_path).influence(built.meta)
