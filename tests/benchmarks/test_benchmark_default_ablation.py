"""Each part of jury that an ablation leaves out is really out, and nothing else is."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from benchmarks.default import plans
from metaweight.core.plugins import import_modules
from metaweight.teachers import build_teacher
from metaweight.teachers.base import registry
from metaweight.testing.states import class_spec, class_state

DOUBLE = torch.float64
MODULE = "benchmarks.default.ablation"


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Its teachers, for one test: others go through all that are registered."""
    monkeypatch.setattr(registry, "_parts", dict(registry._parts))
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    import_modules([MODULE])


def taught(name, **options):
    """A teacher that has seen trusted samples, training samples and a hypergradient, and a state to weigh."""
    teacher = build_teacher(name, class_spec(dtype=DOUBLE, samples=60), **options)
    for seed in (1, 2):
        meta = class_state(30, seed=seed, dtype=DOUBLE)
        teacher.observe(replace(meta, index=torch.arange(30) + 30))
    state = replace(class_state(12, seed=3, dtype=DOUBLE), index=torch.arange(12))
    teacher.track(state)
    g = torch.Generator().manual_seed(0)
    teacher.take_hypergradient(state.index, torch.randn(12, generator=g, dtype=DOUBLE))
    return teacher, state


def test_a_muted_witness_says_nothing_and_the_other_what_it_said():
    whole, state = taught("jury")
    said = whole.witnesses(state)
    for name, out in (("jury-no-outputs", 0), ("jury-no-hidden", 1)):
        teacher, _ = taught(name)
        left = teacher.witnesses(state)
        assert torch.equal(left[:, out], torch.zeros(12, dtype=DOUBLE))
        assert torch.equal(left[:, 1 - out], said[:, 1 - out])
        assert said[:, out].abs().max() > 0
        assert torch.isfinite(teacher(state)).all()


def test_signals_start_share_and_doubts_are_out():
    whole, state = taught("jury")
    meta = torch.arange(30) + 30
    without, _ = taught("jury-no-signals")
    assert whole.signals.of(state.index)[0].abs().max() > 0
    assert torch.equal(without.signals.of(state.index)[0], torch.zeros(12, dtype=DOUBLE))
    start, _ = taught("jury-no-start")
    assert torch.equal(start(state), torch.ones(12, dtype=DOUBLE))  # the net starts at 0
    assert not torch.equal(whole(state), start(state))
    assert len([p for p in start.head.parameters() if p.requires_grad]) > 0
    share, _ = taught("jury-no-share")
    assert share.right == 0.5
    assert whole.right != 0.5
    doubts, _ = taught("jury-no-doubts")
    assert doubts.meta_weights(meta) is None
    assert whole.meta_weights(meta).std() > 0


@pytest.mark.parametrize("name", [name for name in plans.names(plans.ARMS) if name.startswith("jury-")])
def test_every_arm_trains_on_what_auto_trains_on(name):
    (found,) = plans.plans("quick", ["digits"], ["uniform", name])
    config = found.plan.grid.cell(name, "uniform@0.6", 0).config
    assert config.train_on_meta
    assert config.teacher.startswith("jury")
    build_teacher(config.teacher, class_spec(samples=60), **config.teacher_options)
