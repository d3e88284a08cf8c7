"""Inputs by name and outputs of any form, in every engine, against central differences and real steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from output_forms import FORMS, formed, logits_of, named_batch
from slowly import covering
from students import STEP_ENGINES, agreement, engine_for
from torch import Tensor

import metaweight as mw
from metaweight.testing.oracles import RealSteps, relative

WEIGHTS = torch.tensor([0.5, 1.5, 1.0, 0.7, 1.2, 0.9], dtype=torch.float64)


def own_loss(outputs: Any, targets: Tensor) -> Tensor:
    """A user's loss: it takes the whole output apart itself."""
    return F.cross_entropy(logits_of(outputs), targets, reduction="none")


def slopes(engine: str, student: mw.Student, optimizer: torch.optim.Optimizer) -> Tensor:
    w = WEIGHTS.clone().requires_grad_()
    result = mw.hypergradient(
        student, optimizer, named_batch(6, 1), named_batch(5, 2), lambda _s: w, [w], engine
    )
    return result.grads[0]


def truth(student: mw.Student, optimizer: torch.optim.Optimizer) -> Tensor:
    steps = RealSteps(student, optimizer, [named_batch(6, 1)], named_batch(5, 2), loss=own_loss)
    return steps.slopes([WEIGHTS])[0]


@pytest.mark.parametrize(("engine", "form"), covering([*STEP_ENGINES, "auto"], FORMS))
def test_every_engine_finds_the_logits_in_every_form(engine: str, form: str) -> None:
    module = formed(form)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    student = mw.Student(module)  # our own loss: it gets the logits
    found = slopes(engine_for(engine, optimizer), student, optimizer)
    assert relative(found, truth(student, optimizer)) <= agreement(engine, 1e-6)


@pytest.mark.parametrize("engine", STEP_ENGINES)
def test_a_loss_of_the_users_own_sees_the_whole_output(engine: str) -> None:
    module = formed("mapping-with-attributes")
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5, momentum=0.9)

    def loss(outputs: Any, targets: Tensor) -> Tensor:
        return own_loss(outputs, targets) + outputs.hidden[0].square().sum(1)

    student = mw.Student(module, loss=loss)
    steps = RealSteps(student, optimizer, [named_batch(6, 1)], named_batch(5, 2), loss=loss)
    found = slopes(engine_for(engine, optimizer), student, optimizer)
    assert relative(found, steps.slopes([WEIGHTS])[0]) <= agreement(engine, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["dataclass", "dict", "mapping-with-attributes", "tuple"])
@pytest.mark.parametrize("engine", ["forward", "difference"])
def test_compiled_passes_take_them_too(engine: str, form: str) -> None:
    module = formed(form)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    student = mw.Student(module, execution=mw.Execution(compile="aot_eager"), taps=("first",))
    assert relative(slopes(engine, student, optimizer), truth(student, optimizer)) <= agreement(engine, 1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_in_bf16_the_loss_is_summed_in_full(form: str) -> None:
    module = formed(form).float()
    types: set[torch.dtype] = set()

    def loss(outputs: Any, targets: Tensor) -> Tensor:
        types.add(logits_of(outputs).dtype)
        return own_loss(outputs, targets)

    student = mw.Student(module, loss=loss, execution=mw.Execution(precision="bf16"))
    batch = named_batch(6, 1)
    inputs = {name: v.float() if isinstance(v, Tensor) else v for name, v in batch.inputs.items()}
    state = student(mw.Batch(inputs, batch.targets, batch.index)).state()
    assert types == {torch.float32}
    assert state.outputs.dtype == torch.float32
    exact = logits_of(module(**inputs)).detach()
    assert 0 < float((state.outputs - exact).abs().max()) < 0.02  # it did run in bf16


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_a_model_that_computes_its_own_loss_steps_with_mw_net(schedule: str) -> None:
    class Own(torch.nn.Linear):
        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": F.cross_entropy(super().forward(x), labels, reduction="none")}

    torch.manual_seed(1)
    module = Own(4, 3).double()

    def batch(seed: int) -> mw.Batch:
        one = named_batch(6, seed)
        inputs = {"x": one.kwargs["x"], "labels": one.targets}
        return mw.Batch(inputs, one.targets, one.index)

    student = mw.Student(module, loss=lambda out, _y: out["loss"])
    spec = student.spec(batch(1))
    assert spec.classes == 0
    assert student(batch(1)).state().outputs.shape == (6, 0)
    teacher = mw.build_teacher("mw-net", spec=spec)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    reweighter = mw.Reweighter(student, teacher, optimizer=optimizer, schedule=schedule)
    before = [p.detach().clone() for p in (*module.parameters(), *teacher.parameters())]
    for seed in range(3):
        reweighter.step(batch(seed), batch(seed + 10))
    after = [*module.parameters(), *teacher.parameters()]
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(moved) >= 4  # both of the student, and the teacher's output layer at least
