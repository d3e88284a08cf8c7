"""Students that take a gradient in their forward pass: spec, teachers that look, evaluation, engines."""

from __future__ import annotations

import pytest
import torch
from students import agreement
from torch import Tensor, nn

import metaweight as mw
from metaweight.core.modes import evaluating
from metaweight.testing.oracles import relative, twin
from metaweight.training.evaluation import class_probabilities, evaluate


class Forces(nn.Module):
    """Logits are minus the gradient of an energy by the positions; running statistics and dropout beside."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.energy = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        energy = self.energy(self.norm(x)).sum()
        (force,) = torch.autograd.grad(energy, x, create_graph=True)
        return -force


def batch(size: int, seed: int) -> mw.Batch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 3, generator=g).double()
    return mw.Batch((x,), torch.randint(0, 3, (size,), generator=g), torch.arange(size))


def made() -> tuple[mw.Student, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = Forces().double()
    return mw.Student(module, taps=("energy.0",)), torch.optim.SGD(module.parameters(), lr=0.5)


def test_spec_leaves_no_trace_of_its_first_try() -> None:
    student, _ = made()
    before, random = [b.clone() for b in student.module.buffers()], torch.get_rng_state()
    assert student.spec(batch(6, 1)).classes == 3
    assert all(torch.equal(a, b) for a, b in zip(before, student.module.buffers(), strict=True))
    assert torch.equal(random, torch.get_rng_state())


def test_the_first_try_moves_no_mask_and_no_statistic() -> None:
    """In training mode: the pass without a graph equals the live pass from the same generators."""
    (student, _), (other, _) = made(), made()
    torch.manual_seed(7)
    expected = other(batch(6, 1))
    torch.manual_seed(7)
    found = student.without_graph(lambda: student(batch(6, 1)))
    assert torch.equal(found.loss, expected.loss)
    assert not found.loss.requires_grad
    assert not found.features["energy.0"].requires_grad
    for a, b in zip(student.module.buffers(), other.module.buffers(), strict=True):
        assert torch.equal(a, b)


def test_evaluation_runs() -> None:
    student, _ = made()
    with evaluating(student.module):
        loss = float(student(batch(6, 1)).loss.detach().mean())
    assert evaluate(student, [batch(6, 1)])["loss"] == pytest.approx(loss, rel=1e-12)
    _, says = class_probabilities(student, [batch(6, 1)])
    torch.testing.assert_close(says.sum(1), torch.ones(6).double())
    assert not says.requires_grad


@pytest.mark.parametrize("engine", ["difference", "double", "forward", "reverse", "auto"])
def test_engines_equal_higher(engine: str) -> None:
    student, optimizer = made()
    student.module.energy[2].p = 0.0
    chosen = mw.engines.Reverse("snapshots") if engine == "reverse" else engine

    def slopes(one: object) -> Tensor:
        w = torch.linspace(0.5, 1.5, 6).double().requires_grad_()
        result = mw.hypergradient(
            student,
            optimizer,
            batch(6, 1),
            batch(5, 2),
            lambda _s: w,
            [w],
            one,  # type: ignore[arg-type]
        )
        return result.grads[0]

    def truth() -> Tensor:
        """Central differences through real steps, the meta pass with a graph as well."""

        def meta_loss(w: Tensor) -> float:
            module, own = twin(student.module, optimizer)
            losses = nn.functional.cross_entropy(
                batch(6, 1).call(module), batch(6, 1).targets, reduction="none"
            )
            (w * losses).mean().backward()
            own.step()
            meta = nn.functional.cross_entropy(batch(5, 2).call(module), batch(5, 2).targets)
            return float(meta.detach())

        at, h = torch.linspace(0.5, 1.5, 6).double(), 1e-4
        eye = torch.eye(6).double() * h
        return torch.tensor([(meta_loss(at + e) - meta_loss(at - e)) / (2 * h) for e in eye]).double()

    assert relative(slopes(chosen), truth()) <= agreement(engine, 1e-6)


def test_a_teacher_that_looks_at_the_meta_set_every_other_step() -> None:
    student, optimizer = made()
    teacher = mw.build_teacher("knn", spec=student.spec(batch(6, 1)))
    reweighter = mw.Reweighter(student, teacher, optimizer=optimizer)
    for seed in range(3):
        report = reweighter.step(batch(6, seed), batch(5, seed))
    assert set(report.weights.tolist()) <= {0.0, 2.0}


def test_another_error_is_passed_on() -> None:
    class Broken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        mw.Student(Broken(3, 3)).spec(batch(4, 1))
