"""How far gradients through whole runs can be trusted: smooth and rough students are told apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from whole_runs import Case, Rows, mlp, rows

from metaweight.influence.smoothness import Smoothness


class Wave(nn.Module):
    """sin of large arguments: steps of training hardly know where they go."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(30 * x)


def case_of(activation: nn.Module) -> Case:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(16, 6), activation, nn.Linear(6, 3))

    return Case(build, Rows(rows((16,), 24, 3)), rows((16,), 5, 4), epochs=4)


def test_a_smooth_run_is_called_smooth() -> None:
    built = mlp(epochs=4)
    run = built.recorded()
    found = run.smoothness(built.meta, step=1e-3)
    assert found.cosine > 0.999
    assert found.signs > 0.99
    assert found.promised < 1e-3
    assert "smooth" in found.sentences()[0]
    assert len(found.sentences()) == 2
    end = run.recording.end().parameters
    assert all(torch.equal(p, end[name]) for name, p in run.student.parameters().items())


def test_what_it_says_of_a_direction_is_what_differences_say() -> None:
    """The change of the gradient along a direction is that of two whole runs, each asked by itself."""
    built = mlp(epochs=3)
    run = built.recorded()
    found = run.smoothness(built.meta, step=0.05, directions=1, seed=4)
    signs = torch.randint(0, 2, (24,), generator=torch.Generator().manual_seed(4)).double() * 2 - 1
    here, ones = run.influence(built.meta).values, torch.ones(24, dtype=torch.float64)
    there = built.recorded(ones + 0.05 * signs).influence(built.meta)
    behind = built.loss_at_the_end(ones - 0.05 * signs)
    assert found.cosine == pytest.approx(float(torch.cosine_similarity(here, there.values, dim=0)), rel=1e-9)
    assert found.change == pytest.approx(float((there.values - here).norm() / here.norm()), rel=1e-9)
    promised = 0.1 * float(here @ signs)
    expected = abs(float(there.losses) - behind - promised) / abs(promised)
    assert found.promised == pytest.approx(expected, rel=1e-6)


def test_a_rough_run_is_called_rough_and_told_what_would_help() -> None:
    built = case_of(Wave())
    found = built.recorded().smoothness(built.meta, step=0.05)
    smooth = mlp(epochs=4).recorded().smoothness(mlp(epochs=4).meta, step=0.05)
    assert found.cosine < 0.5 < smooth.cosine
    assert found.promised > smooth.promised
    assert "chaotic" in found.sentences()[0]
    assert len(found.sentences()) > 2


@pytest.mark.parametrize(
    ("built", "named"),
    [
        (case_of(nn.ReLU()), "ReLU"),
        (mlp(epochs=2), "Batches of 6"),
        (mlp(epochs=2), "Half of the learning rate"),
    ],
)
def test_advice_is_about_what_is_there(built: Case, named: str) -> None:
    found = built.recorded().smoothness(built.meta, directions=1)
    assert any(named in line for line in found.advice)
    assert not any("GELU" in line for line in mlp(epochs=2).recorded().smoothness(built.meta).advice)


def test_smooth_runs_need_no_advice() -> None:
    advice = ("Do this.",)
    assert Smoothness(0.99, 0.1, 1.0, 0.01, 0.01, advice).sentences()[2:] == ()
    assert Smoothness(0.6, 0.1, 1.0, 0.01, 0.01, advice).sentences()[2:] == advice
