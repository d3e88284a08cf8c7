"""``scope``: the hypergradient through some submodules; the steps of all others count as constants."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import metaweight as mw
from oracles import (
    OPTIMIZERS,
    STEP_ENGINES,
    able,
    able_student,
    agreement,
    engine_for,
    make,
    plain_step,
    relative,
    twin,
)

INSIDE = {
    "batchnorm-resnet": ["bn2", "head"],
    "groupnorm-resnet": ["norm2", "conv"],
    "words": ["embedding", "norm"],
    "encoder": ["encoder.layers.1", "head"],
    "gru": ["rnn"],
    "tied-and-frozen": ["second"],
}


def weights() -> Tensor:
    return torch.rand(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5


def slopes(engine: str, built: tuple, scope: list[str] | None, **kw: object) -> Tensor:
    w = weights().requires_grad_()
    chosen = engine_for(engine, built[1])
    return mw.hypergradient(*built, lambda _s: w, [w], chosen, scope=scope, **kw).grads[0]


def differences(built: tuple, scope: list[str], h: float = 1e-4) -> Tensor:
    """By real steps: parameters out of scope get the step that they take at the unmoved weights."""
    student, own, train, meta = built
    inside = {id(p) for name in scope for p in student.module.get_submodule(name).parameters()}
    chosen = [id(p) in inside for p in student.module.parameters()]

    def after(w: Tensor) -> list[Tensor]:
        module, optimizer = twin(student.module, own)
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            plain_step(module, optimizer, train, w)
        return [p.detach() for p in module.parameters()]

    still = after(weights())

    def loss(w: Tensor) -> float:
        module, _ = twin(student.module, own)
        stepped = after(w)
        with torch.no_grad():
            for p, c, moved, unmoved in zip(module.parameters(), chosen, stepped, still, strict=True):
                p.copy_(moved if c else unmoved)
            return float(F.cross_entropy(module(*meta.inputs), meta.targets))

    found = torch.zeros(6, dtype=torch.float64)
    for i in range(6):
        step = torch.eye(6, dtype=torch.float64)[i] * h
        near = loss(weights() + step) - loss(weights() - step)
        far = loss(weights() + 2 * step) - loss(weights() - 2 * step)
        found[i] = (8 * near - far) / (12 * h)
    return found


@pytest.mark.parametrize(("engine", "student"), able(STEP_ENGINES, INSIDE))
@pytest.mark.parametrize("optimizer", ["nesterov", "adamw"])
def test_steps_out_of_scope_are_constants(engine: str, student: str, optimizer: str) -> None:
    built = make(student, optimizer)
    found = slopes(engine, built, INSIDE[student])
    assert relative(found, differences(built, INSIDE[student])) <= agreement(engine, 1e-6)
    assert relative(found, slopes(engine, built, None)) > 1e-3 or student == "gru"


@pytest.mark.parametrize("engine", [e for e in STEP_ENGINES if e != "higher"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_engine_means_the_same_scope(engine: str, optimizer: str) -> None:
    built = make(able_student(engine, "batchnorm-resnet", "groupnorm-resnet"), optimizer)
    for max_norm in (None, 0.05):
        a, b = (slopes(e, built, ["conv", "head"], max_norm=max_norm) for e in (engine, "higher"))
        assert relative(a, b) <= agreement(engine)


@pytest.mark.parametrize("engine", STEP_ENGINES)
def test_all_submodules_are_no_scope(engine: str) -> None:
    built = make(able_student(engine, "batchnorm-resnet", "groupnorm-resnet"), "momentum")
    everything = [name for name, _ in built[0].module.named_children()]
    assert relative(slopes(engine, built, everything), slopes(engine, built, None)) <= agreement(
        engine, 1e-12
    )


def test_mistakes() -> None:
    built = make("tied-and-frozen", "momentum")
    with pytest.raises(KeyError, match=r"unknown submodule 'haed' in scope\. Did you mean 'head'"):
        slopes("forward", built, ["haed"])
    with pytest.raises(ValueError, match=r"scope \['frozen'\] holds no trainable parameter"):
        slopes("forward", built, ["frozen"])
    with pytest.raises(ValueError, match=r"scope \[\] holds no trainable parameter"):
        slopes("forward", built, [])
    with pytest.raises(TypeError, match="write \\['head'\\]"):
        slopes("forward", built, "head")  # type: ignore[arg-type]


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_a_reweighter_teaches_through_its_scope(schedule: str) -> None:
    student, own, train, meta = make("batchnorm-resnet", "momentum")
    teacher = mw.build_teacher("mw-net", spec=student.spec(train))
    expected = mw.hypergradient(
        student, own, train, meta, teacher, list(teacher.parameters()), "higher", scope=["head"], center=False
    ).grads
    optimizer = torch.optim.SGD(teacher.parameters(), lr=1.0)
    before = [p.detach().clone() for p in teacher.parameters()]
    reweighter = mw.Reweighter(
        student,
        teacher,
        optimizer=own,
        teacher_optimizer=optimizer,
        engine="forward",
        schedule=schedule,
        scope=["head"],
        center=False,
    )
    reweighter.step(train, meta)
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, teacher.parameters(), strict=True)])
    assert relative(moved.detach(), torch.cat([g.flatten() for g in expected])) <= 1e-9
    with pytest.raises(KeyError, match="Did you mean 'head'"):
        mw.Reweighter(student, teacher, optimizer=own, teacher_optimizer=optimizer, scope=["heat"])
