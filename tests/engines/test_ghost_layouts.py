"""Engine ``ghost``: where the units lie in a tensor, batch by batch, and the signature that tells."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from ghost_parts import Parts
from ghost_proof import passed, prove
from torch import Tensor, nn

from metaweight.engines import EngineError
from metaweight.engines.ghost import Ghost
from metaweight.engines.graph import Graph


def rows(units: int, times: int, seed: int = 1) -> Tensor:
    return torch.randn(units, times, 4, generator=torch.Generator().manual_seed(seed)).double()


def built(call: Callable[[Parts, Tensor], Tensor]) -> Parts:
    torch.manual_seed(4)
    module = Parts(call, a=nn.Linear(4, 5)).double()
    module.p = nn.Parameter(torch.randn(5).double())
    return module


def time_first(m: Parts, x: Tensor) -> Tensor:
    hidden = m.a(x.transpose(0, 1)).tanh() * m.p
    return (hidden * torch.arange(1.0, 1 + x.shape[1], dtype=x.dtype)[:, None, None]).sum(0)


def time_first_flat(m: Parts, x: Tensor) -> Tensor:
    hidden = (m.a(x.transpose(0, 1).flatten(0, 1)) * m.p).tanh().view(x.shape[1], len(x), 5)
    return (hidden * torch.arange(1.0, 1 + x.shape[1], dtype=x.dtype)[:, None, None]).sum(0)


def flat(m: Parts, x: Tensor) -> Tensor:
    return (m.a(x.flatten(0, 1)) * m.p).tanh().view(*x.shape[:2], 5).sum(1)


def plain(m: Parts, x: Tensor) -> Tensor:
    return (m.a(x) * m.p).tanh().sum(1)


LAYOUTS = {
    "blocks": (flat, 4), "interleaved": (time_first_flat, 4), "second": (time_first, 1), "plain": (plain, 1)
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("first", [(6, 6), (6, 4), (1, 4), (3, 6), (4, 12)])
def test_batches_of_any_shape_follow_one_another(layout: str, first: tuple[int, int]) -> None:
    """As many times as units, twice as many, one unit only: nothing of it is taken for another layout."""
    module, engine = built(LAYOUTS[layout][0]), Ghost()
    for units, times in (first, (6, 6), (3, 6), (6, 12), (1, 3), (5, 5), (7, 2)):
        prove(module, (rows(units, times),), engine=engine)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_signature_is_that_of_the_calls_and_their_rows(layout: str) -> None:
    call, each = LAYOUTS[layout]
    module, engine = built(call), Ghost()
    signatures = []
    for units, times, seed in ((6, 4, 1), (6, 4, 2), (9, 4, 1), (6, 5, 1)):
        _, _, recorded = passed(module, (rows(units, times, seed),), engine, torch.ones(units).double())
        signatures.append(engine.signature(recorded))
    assert signatures[0] == signatures[1] == signatures[2]
    assert (signatures[0] == signatures[3]) == (each == 1)  # rows a unit count where they are flat
    assert len({hash(s) for s in signatures}) == (1 if each == 1 else 2)


def packed(m: Parts, x: Tensor) -> Tensor:
    """Only the rows whose first number is positive."""
    real = x[..., 0] > 0
    hidden = torch.zeros(*x.shape[:2], 5, dtype=x.dtype)
    hidden[real] = (m.a(x[real]) * m.p).tanh()
    return hidden.sum(1)


def with_real(*counts: int) -> Tensor:
    x = rows(len(counts), 4)
    x[..., 0] = -1
    for row, count in enumerate(counts):
        x[row, :count, 0] = 1
    return x


def test_packed_rows_say_that_their_order_may_depend_on_values() -> None:
    module, engine = built(packed), Ghost()
    _, loss, recorded = passed(module, (with_real(2, 2, 2),), engine, torch.ones(3).double())
    _, other, others = passed(module, (with_real(3, 2, 1),), Ghost(), torch.ones(3).double(), solve=False)
    assert engine.signature(recorded) == engine.signature(others)  # as many rows in all
    assert Graph.of(loss).moves != Graph.of(other).moves
    with pytest.raises(EngineError, match=r"'a' \(Linear\) gave shape \(7, 5\) for 3 units"):
        prove(module, (with_real(2, 2, 3),), engine=engine)
    with pytest.raises(EngineError, match=r"the calls of .* mix the samples of a batch"):
        prove(built(packed), (with_real(1, 2, 3),), engine=Ghost())


def test_a_student_whose_layers_all_have_rules_is_followed_in_its_first_batch_only() -> None:
    covered, bare = built(lambda m, x: m.a(x).tanh().sum(1)), built(plain)
    del covered.p
    for module, after in ((covered, False), (bare, True)):
        engine = Ghost()
        assert prove(module, (rows(6, 4),), engine=engine)[1].kept.follower is not None
        assert (prove(module, (rows(6, 4),), engine=engine)[1].kept.follower is not None) == after
    covered.a.bias.requires_grad_(False)
    assert prove(covered, (rows(6, 4),))[1].kept.follower is not None


def test_the_batch_keeps_no_mark() -> None:
    x = rows(6, 4)
    prove(built(plain), (x,))
    assert vars(x) == {}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_where_the_units_lie_is_asked_once(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, engine = built(LAYOUTS[layout][0]), Ghost()
    prove(module, (rows(6, 4),), engine=engine)
    backwards, grad = [], torch.autograd.grad

    def counted(*args: object, **options: object) -> object:
        backwards.append(args)
        return grad(*args, **options)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    for units, times in ((6, 6), (3, 6), (1, 2)):
        passed(module, (rows(units, times),), engine, torch.ones(units).double())
    assert len(backwards) == 3
