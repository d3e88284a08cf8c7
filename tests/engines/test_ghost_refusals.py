"""Engine ``ghost``: what it refuses, by the name of the part, and what only the first batch tells."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from ghost_parts import LAYERS, UNITS, Parts, batch, build, flat, parts, slopes, words
from torch import Tensor, nn

import metaweight as mw
from metaweight.core.randomness import RandomState
from metaweight.engines import EngineError
from metaweight.engines.base import Recorded
from metaweight.engines.ghost import Ghost

# refused before anything is computed, by the name of the part


def table(**options: object) -> Callable[[], nn.Module]:
    return lambda: Parts(lambda m, x: m.a(words(x)).mean(1), a=nn.Embedding(7, 5, **options))


def normed(**options: object) -> Callable[[], nn.Module]:
    return parts(lambda m, x: flat(m.a(x)), a=lambda: nn.BatchNorm2d(3, **options))


def with_scale(call: Callable[[Parts, Tensor], Tensor]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        module = Parts(call)
        module.scale = nn.Parameter(torch.linspace(0.5, 1.5, 15).view(3, 5))
        return module

    return make


batch_normed = with_scale(
    lambda m, x: F.batch_norm(x, None, None, m.scale[:, 0], training=True).mean(3).flatten(1)[:, :5]
)
frequent = with_scale(
    lambda m, x: F.embedding(words(x).clamp(max=2), m.scale, scale_grad_by_freq=True).tanh().mean(1)
)


def frozen_norm() -> nn.Module:
    module = normed()()
    module.a.requires_grad_(False)
    return module


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "batch-norm": (normed(), r"'a' \(BatchNorm2d\) couples.*use engine='auto'"),
    "batch-norm-frozen": (frozen_norm, r"'a' \(BatchNorm2d\) couples"),
    "batch-norm-without-statistics": (lambda: normed(track_running_stats=False)().eval(), "couples"),
    "by-frequency": (table(scale_grad_by_freq=True), r"'a' \(Embedding\) has scale_grad_by_freq"),
    "batch-norm-function": (batch_normed, r"F\.batch_norm couples the samples"),
    "table-function": (frequent, r"F\.embedding with max_norm, scale_grad_by_freq or sparse"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_sum_over_samples_is_refused_by_name(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(EngineError, match=message):
        slopes(build(make), "ghost")


# what no class tells is found by the gradients of the first batch


def coupled(m: Parts, x: Tensor) -> Tensor:
    hidden = m.a(x.flatten(1))
    return (hidden - hidden.mean(0)).tanh()


def shuffled(m: Parts, x: Tensor) -> Tensor:
    return m.a(x.flatten(1)).flip(0).tanh()


def packed(m: Parts, x: Tensor) -> Tensor:
    """As many rows as 2 a unit, but 1, 2 or 3 of each."""
    unit = torch.arange(6).repeat_interleave(torch.tensor([1, 3, 2, 2, 3, 1]))
    hidden = m.a(x.flatten(1)[unit] * torch.arange(1, 13)[:, None]).tanh()
    return torch.zeros(6, 5, dtype=x.dtype).index_add(0, unit, hidden)


def pooled(m: Parts, x: Tensor) -> Tensor:
    hidden = m.a(x.flatten(1)).tanh()
    return hidden + m.b(hidden.mean(0))


SEEN: dict[str, tuple[Callable[[Parts, Tensor], Tensor], str]] = {
    "coupled": (coupled, r"its gradient of 'a.weight' of 'a' \(Linear\) is off by"),
    "shuffled": (shuffled, r"its gradient of 'a.weight' of 'a' \(Linear\) is off by"),
    "packed": (packed, r"the calls of 'a' \(Linear\) mix the samples"),
    "pooled": (pooled, r"'b' \(Linear\) gave shape \(5,\) for 6 units"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", SEEN)
def test_what_no_class_tells_is_seen_at_the_first_batch(case: str, dtype: torch.dtype) -> None:
    call, message = SEEN[case]
    module = build(lambda: Parts(call, a=nn.Linear(48, 5), b=nn.Linear(5, 5)), dtype)
    with pytest.raises(EngineError, match=f"{message}.*use engine='auto'"):
        slopes(module, "ghost", dtype)


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, a: Tensor, p: Tensor) -> Tensor:
        ctx.save_for_backward(a, p)
        return a * p

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, Tensor]:
        a, p = ctx.saved_tensors
        return grad * p, (grad * a).sum(0)


def hidden(m: Parts, x: Tensor) -> Tensor:
    return Product.apply(m.a(x.flatten(1)).tanh(), m.scale[0])


def energy(m: Parts, x: Tensor) -> Tensor:
    x = x.flatten(1).detach().requires_grad_()
    (force,) = torch.autograd.grad(m.a(x).tanh().mul(m.scale[0]).sum(), x, create_graph=True)
    return force[:, :5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (hidden, r"gradient of 'scale' .* custom autograd.Function 'Product'"),
        (energy, "where torch does not show it"),
    ],
)
def test_a_meeting_that_torch_does_not_show_is_refused(
    call: Callable[[Parts, Tensor], Tensor], message: str
) -> None:
    def make() -> nn.Module:
        module = with_scale(call)()
        module.a = nn.Linear(48, 5)
        return module

    with pytest.raises(EngineError, match=f"{message}.*use engine='auto'"):
        slopes(build(make), "ghost")


def test_a_first_batch_of_one_unit_proves_nothing() -> None:
    engine = Ghost()
    module = build(lambda: Parts(coupled, a=nn.Linear(48, 5)))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)

    def solve(size: int) -> None:
        w = torch.ones(size).double().requires_grad_()
        student, train, meta = mw.Student(module), batch(size, 1), batch(5, 2)
        mw.hypergradient(student, optimizer, train, meta, lambda _s: w, [w], engine)

    solve(1)
    with pytest.raises(EngineError, match="couples the samples of a batch"):
        solve(UNITS)


def test_an_input_that_is_changed_in_place_after_the_call_is_seen() -> None:
    def call(m: Parts, x: Tensor) -> Tensor:
        hidden = x.flatten(1).tanh()
        out = m.a(hidden)
        hidden.zero_()
        return out

    with pytest.raises(EngineError, match=r"input of 'a' \(Linear\) was changed in place"):
        slopes(build(lambda: Parts(call, a=nn.Linear(48, 5))), "ghost")


def test_a_pass_that_nobody_recorded_is_refused() -> None:
    module = build(LAYERS["linear-wide"])
    student = mw.Student(module)
    recorded = Recorded(student(batch(UNITS, 1)), {}, RandomState.of(student.device))
    with pytest.raises(EngineError, match="inside keeping"):
        slopes(module, "ghost", recorded=recorded)


def test_layers_are_as_before_after_an_error() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(7, 1))  # do not fit
    with pytest.raises(RuntimeError), Ghost().keeping(mw.Student(module)):
        module(torch.ones(1, 3))
    assert not any("forward" in vars(part) for part in module)
