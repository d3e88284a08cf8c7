"""Running statistics of BatchNorm in all its forms: central differences of whole runs, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from slowly import slowly
from torch import Tensor, nn
from whole_runs import Case, Rows, off, rows

import metaweight as mw
from metaweight.influence.norms import norms_of, read_with_derivative


class Twice(nn.Module):
    """One layer that a pass calls twice, on inputs of different statistics."""

    def __init__(self, momentum: float | None = 0.3) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(4, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.norm(self.first(x)))
        return self.head(self.norm(x * x))


class Still(nn.Module):
    """Two layers, one of which evaluates while the student is trained; not at its first statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.still, self.moving = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 3)
        assert self.still.running_mean is not None
        assert self.still.running_var is not None
        self.still.running_mean.fill_(0.3)
        self.still.running_var.fill_(2.0)

    def train(self, mode: bool = True) -> Still:
        super().train(mode)
        self.still.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.moving(self.first(x)))
        return self.head(torch.tanh(self.still(x)))


class Sequence(nn.Module):
    """BatchNorm1d on [B, C, L]."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3, eps=0.1), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.norm(self.first(x))).mean(-1))


class Deep(nn.Module):
    """The statistics of the second layer are those of what the first one made."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2), nn.Tanh(), nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2)
        )
        self.head = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(2).mean(-1))


def flat(**options: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        norm = nn.BatchNorm1d(4, **options)  # type: ignore[arg-type]
        return nn.Sequential(nn.Linear(4, 4), norm, nn.Tanh(), nn.Linear(4, 3))

    return build


FORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mean of all batches": (flat(momentum=None), (4,)),
    "momentum": (flat(momentum=0.7, eps=0.2), (4,)),
    "no momentum at all": (flat(momentum=0.0), (4,)),
    "not affine": (flat(affine=False), (4,)),
    "no statistics": (flat(track_running_stats=False), (4,)),
    "called twice": (Twice, (4,)),
    "called twice, mean of all batches": (lambda: Twice(None), (4,)),
    "in evaluation": (Still, (4,)),
    "sequences": (Sequence, (2, 5)),
    "two layers": (Deep, (1, 2, 2, 2)),
}


def of(form: str, **options: object) -> Case:
    build, shape = FORMS[form]
    return Case(build, Rows(rows(shape, 24, 3)), rows(shape, 5, 4), **{"epochs": 5, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "optimizer"),
    [*((form, "sgd") for form in FORMS), *slowly(*((form, "adamw") for form in FORMS))],
)
def test_a_run_is_that_of_its_differences(form: str, optimizer: str) -> None:
    assert off(of(form, optimizer=optimizer)) <= 1e-6


@pytest.mark.parametrize("form", ["called twice", *slowly("in evaluation", "mean of all batches")])
def test_a_loss_in_training_mode_does_not_read_them(form: str) -> None:
    assert off(of(form), "train") <= 1e-6


@pytest.mark.parametrize("form", [form for form in FORMS if form != "no statistics"])
def test_a_pass_that_reads_leaves_is_that_of_torch(form: str) -> None:
    build, shape = FORMS[form]
    torch.manual_seed(0)
    module = build().double()
    for seed in range(3):
        module(rows(shape, 6, seed).args[0])
    module.eval()
    x = rows(shape, 5, 9).args[0]
    expected = module(x)
    with read_with_derivative(norms_of(module), dict(module.named_buffers())) as leaves:
        assert set(leaves) == {name for name, _ in module.named_buffers() if "running" in name}
        torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-14)


def test_each_row_is_a_question_of_its_own() -> None:
    """In evaluation rows do not look at each other, and each one asks the statistics for itself."""
    built = of("called twice", epochs=2)
    each = built.recorded().influence(built.meta, each=True).values
    for row in (0, 4):
        alone = built.recorded().influence(built.meta.rows(torch.tensor([row]))).values
        torch.testing.assert_close(each[row], alone, rtol=1e-10, atol=1e-15)
    assert isinstance(built.meta, mw.Batch)
