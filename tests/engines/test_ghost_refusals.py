"""Engine ``ghost``: what it refuses, by the name of the part, and what only the first batch tells."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from ghost_parts import LAYERS, UNITS, Parts, batch, build, flat, parts, slopes, words
from torch import Tensor, nn

import metaweight as mw
from metaweight.core.randomness import RandomState
from metaweight.engines import EngineError
from metaweight.engines.base import Recorded
from metaweight.engines.ghost import Ghost
from metaweight.testing.oracles import relative

# refused before anything is computed, by the name of the part


class Own(nn.Linear):
    pass


def linear(m: Parts, x: Tensor) -> Tensor:
    return m.a(x.flatten(1)).tanh()


def weight_normed() -> nn.Module:
    return Parts(linear, a=nn.utils.parametrizations.weight_norm(nn.Linear(48, 5)))


def pruned() -> nn.Module:
    return Parts(linear, a=nn.utils.prune.identity(nn.Linear(48, 5), "weight"))


def own_forward() -> nn.Module:
    module = Parts(linear, a=nn.Linear(48, 5))
    module.a.forward = lambda x: F.linear(x, 2 * module.a.weight)
    return module


def bare() -> nn.Module:
    module = Parts(lambda m, x: m.scale * x.flatten(1)[:, :5])
    module.scale = nn.Parameter(torch.ones(5))
    return module


def table(**options: object) -> Callable[[], nn.Module]:
    return lambda: Parts(lambda m, x: m.a(words(x)).mean(1), a=nn.Embedding(7, 5, **options))


def normed(**options: object) -> Callable[[], nn.Module]:
    return parts(lambda m, x: flat(m.a(x)), a=lambda: nn.BatchNorm2d(3, **options))


def frozen_norm() -> nn.Module:
    module = normed()()
    module.a.requires_grad_(False)
    return module


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "batch-norm": (normed(), r"'a' \(BatchNorm2d\) couples"),
    "batch-norm-frozen": (frozen_norm, r"'a' \(BatchNorm2d\) couples"),
    "batch-norm-without-statistics": (lambda: normed(track_running_stats=False)().eval(), "couples"),
    "instance-norm": (
        parts(lambda m, x: flat(m.a(x)), a=lambda: nn.InstanceNorm2d(3, affine=True)),
        r"'weight' of 'a' \(InstanceNorm2d\)",
    ),
    "subclass": (parts(linear, a=lambda: Own(48, 5)), r"'weight' of 'a' \(Own\)"),
    "own-forward": (own_forward, r"'weight' of 'a' \(Linear\)"),
    "weight-norm": (weight_normed, r"of 'a' \(ParametrizedLinear\)"),
    "pruned": (pruned, r"'weight_orig' of 'a' \(Linear\)"),
    "bare-parameter": (bare, r"'scale' of the student \(Parts\)"),
    "bag": (
        parts(lambda m, x: m.a(words(x)), a=lambda: nn.EmbeddingBag(7, 5)),
        r"'weight' of 'a' \(EmbeddingBag\)",
    ),
    "max-norm": (table(max_norm=1.0), r"'weight' of 'a' \(Embedding\)"),
    "by-frequency": (table(scale_grad_by_freq=True), r"'weight' of 'a' \(Embedding\)"),
    "sparse": (table(sparse=True), r"'weight' of 'a' \(Embedding\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_part_without_a_rule_is_refused_by_name(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(EngineError, match=f"{message}.*use engine='forward' or 'higher'"):
        slopes(build(make), "ghost")


def test_a_part_without_a_rule_may_stay_where_it_is() -> None:
    module = build(bare)
    module.scale.requires_grad_(False)
    assert relative(slopes(module, "ghost"), slopes(module, "higher")) <= 1e-9


# what no class tells is found by the gradient of the first batch


def time_first(m: Parts, x: Tensor) -> Tensor:
    return m.a(x.flatten(2).repeat(1, 2, 1).transpose(0, 1)).tanh().mean(0)  # as many times as units


def rows_of_times(m: Parts, x: Tensor) -> Tensor:
    return m.a(x.flatten(2).transpose(0, 1).flatten(0, 1)).view(3, -1, 5).tanh().mean(0)


def positions(m: Parts, x: Tensor) -> Tensor:
    return (
        (m.a(x.flatten(2).repeat(1, 2, 1)) * m.b(torch.arange(6))).tanh().mean(1)
    )  # as many places as units


def other_use(m: Parts, x: Tensor) -> Tensor:
    return F.linear(m.a(words(x)).mean(1).tanh(), m.a.weight)[:, :5]


def coupled(m: Parts, x: Tensor) -> Tensor:
    hidden = m.a(x.flatten(1))
    return (hidden - hidden.mean(0)).tanh()


def bound(m: Parts, x: Tensor) -> Tensor:
    return nn.Linear.forward(m.a, x.flatten(1)).tanh()


SEEN: dict[str, tuple[Callable[[Parts, Tensor], Tensor], dict[str, Callable[[], nn.Module]]]] = {
    "time-first": (time_first, {"a": lambda: nn.Linear(16, 5)}),
    "rows-of-times": (rows_of_times, {"a": lambda: nn.Linear(16, 5)}),
    "positions": (positions, {"a": lambda: nn.Linear(16, 5), "b": lambda: nn.Embedding(6, 5)}),
    "other-use": (other_use, {"a": lambda: nn.Embedding(7, 5)}),
    "coupled": (coupled, {"a": lambda: nn.Linear(48, 5)}),
    "past-its-call": (bound, {"a": lambda: nn.Linear(48, 5)}),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", SEEN)
def test_what_no_class_tells_is_seen_at_the_first_batch(case: str, dtype: torch.dtype) -> None:
    call, layers = SEEN[case]
    module = build(lambda: Parts(call, **{name: layer() for name, layer in layers.items()}), dtype)
    with pytest.raises(EngineError, match=r"the calls of '[ab]' .*use engine='forward' or 'higher'"):
        slopes(module, "ghost", dtype)


def test_a_first_batch_of_one_unit_proves_nothing() -> None:
    engine = Ghost()
    call, layers = SEEN["time-first"]
    module = build(lambda: Parts(call, **{name: layer() for name, layer in layers.items()}))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)

    def solve(size: int) -> None:
        w = torch.ones(size).double().requires_grad_()
        student, train, meta = mw.Student(module), batch(size, 1), batch(5, 2)
        mw.hypergradient(student, optimizer, train, meta, lambda _s: w, [w], engine)

    solve(1)
    with pytest.raises(EngineError, match="batch is not dimension 0"):
        solve(UNITS)


def test_an_input_without_the_batch_is_refused_by_its_shape() -> None:
    def call(m: Parts, x: Tensor) -> Tensor:
        return m.a(torch.ones(1, 4).to(x)) + x.flatten(1)[:, :5]

    with pytest.raises(EngineError, match=r"'a' \(Linear\) got an input of shape \(1, 4\) for 6 units"):
        slopes(build(lambda: Parts(call, a=nn.Linear(4, 5))), "ghost")


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
