"""``scope``: the hypergradient through some submodules; the steps of all others count as constants."""

from __future__ import annotations

import functools

import pytest
import torch
from slowly import covering, one_in
from students import OPTIMIZERS, STEP_ENGINES, able, able_student, agreement, engine_for, make
from torch import Tensor

import metaweight as mw
from metaweight.testing.oracles import RealSteps, relative

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


@functools.cache
def measured(student: str) -> Tensor:
    """Central differences of real steps, once for all engines."""
    built, own, train, meta = make(student, "adamw")
    return RealSteps(built, own, [train], meta, scope=INSIDE[student]).slopes([weights()])[0]


@pytest.mark.parametrize(("engine", "student"), one_in(2, able(STEP_ENGINES, INSIDE)))
def test_steps_out_of_scope_are_constants(engine: str, student: str) -> None:
    truth = measured(student)
    found = slopes(engine, make(student, "adamw"), INSIDE[student])
    assert relative(found, truth) <= agreement(engine, 1e-6)


@pytest.mark.parametrize("student", INSIDE)
def test_a_scope_changes_the_hypergradient(student: str) -> None:
    built = make(student, "adamw")
    assert relative(slopes("higher", built, INSIDE[student]), slopes("higher", built, None)) > 0.1


@pytest.mark.parametrize(
    ("engine", "optimizer"), covering([e for e in STEP_ENGINES if e != "higher"], OPTIMIZERS)
)
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
